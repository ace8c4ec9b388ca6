#!/bin/sh
# A stand-in for Miniconda's installer: sh THIS -b -p PREFIX [-u] [-f] [-s]. Its payload follows the last line.
prefix= update=
while getopts "bfp:ush" option; do
    case $option in
        b | s) ;;
        p) prefix=$OPTARG ;;
        u | f) update=yes ;;
        *) echo "usage: $0 -b -p PREFIX [-u] [-f] [-s]"; exit 2 ;;
    esac
done
[ -n "$prefix" ] || { echo "$0: name the place by -p PREFIX"; exit 1; }
if [ -e "$prefix" ] && [ -z "$update" ]; then
    echo "ERROR: File or directory already exists: '$prefix'"
    echo "If you want to update an existing installation, use the -u option."
    exit 1
fi
echo "PREFIX=$prefix"
mkdir -p "$prefix/bin" "$prefix/conda-meta" "$prefix/pkgs" "$prefix/lib/standin" || exit 1
payload=$(($(grep -an '^__PAYLOAD__$' "$0" | head -n 1 | cut -d: -f1) + 1))
tail -n "+$payload" "$0" | tar -xz -C "$prefix/lib/standin" || exit 1
mv "$prefix/lib/standin/conda" "$prefix/bin/conda" && chmod 755 "$prefix/bin/conda" "$prefix/lib/standin/micromamba" || exit 1
ln -sfn /usr/bin/python3 "$prefix/bin/python"
: >"$prefix/conda-meta/history"
echo "installation finished."
exit 0
__PAYLOAD__
