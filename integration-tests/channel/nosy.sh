#!/bin/sh
# The post-link script of hubd-test-nosy: writes into its environment who it is, and what it could reach of what is not its own.
told="$PREFIX/share/hubd-test-nosy"
mkdir -p "$told"
id -u >"$told/uid"
: >"$told/reached"

reached() {
    echo "$1" >>"$told/reached"
}

for folder in /opt/hub/cache/server /opt/hub/cache/conda /opt/hub/server/lib /opt/hub/hub /opt/hub/conda /opt/hub/envs \
    /opt/hub/envs/*/[0-9]* /opt/hub/state /opt/hub/state/reports /opt/hub/state/reports/* /opt/hub/kernels/everyone /etc /home/ada; do
    [ "$folder" = "$PREFIX" ] && continue
    if (: >"$folder/x") 2>/dev/null; then reached "$folder/x"; fi
done
for folder in /opt/hub/state/secrets /opt/hub/state/hub /home/ada; do
    if ls "$folder" >/dev/null 2>&1; then reached "$folder"; fi
done
for file in /opt/hub/state/hub/cookie_secret /opt/hub/state/record.json /etc/shadow; do
    if (: <"$file") 2>/dev/null; then reached "$file"; fi
done
for process in /proc/[0-9]*; do
    if ! cmp -s "$process/cgroup" /proc/self/cgroup && ls "$process/root" >/dev/null 2>&1; then reached "$process/root"; fi
done
if sudo -n true 2>/dev/null; then reached root; fi
