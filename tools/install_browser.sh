#!/usr/bin/env bash
# The browser that tests/explorer/test_browser.py drives: Debian's or Ubuntu's chromium, about 350 MB, a minute.
# The tests also need the extra `browser`: pip install -e ".[test,browser]" -c constraints.txt
set -euo pipefail
if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then
    echo "A chromium is installed already."
    exit
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
fi
"${as_root[@]}" apt-get update
"${as_root[@]}" apt-get install --yes --no-install-recommends chromium
