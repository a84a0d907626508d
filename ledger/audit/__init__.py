"""The offline audit: everything in a store computed again, on the auditor's own side. See docs/audit.md.

`audit.audit_path` audits a store on disk, `audit.audit` one that is open; `compare.compare` compares several.
What an engine must provide is stated in `records`; what comes out, in `report`, and on the way in `progress`.
"""
