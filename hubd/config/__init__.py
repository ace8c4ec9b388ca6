"""config.yaml as a value: model, text, parse, edit and render. Nothing here touches the machine."""

from __future__ import annotations
