"""Add the scripts of others that the wheel contains to a bill of materials.

Give it the files: `vendored.py BILL LICENSE…`. The first line of a licence file names its script and the version, as in
"htmx 2.0.11, htmx.min.js, from …".
"""

import json
import re
import sys
from pathlib import Path

bill = Path(sys.argv[1])
found = json.loads(bill.read_text(encoding="utf-8"))
for licence in map(Path, sys.argv[2:]):
    text = licence.read_text(encoding="utf-8")
    name, version, file = re.match(r"(\S+) (\d\S*), (\S+),", text).groups()
    found["components"].append(
        {
            "type": "library",
            "name": name,
            "version": version,
            "description": f"vimbiso_fsm/studio/page/static/{file}",
            "licenses": [{"license": {"name": f"of {name}", "text": {"content": text}}}],
        }
    )
bill.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
