"""The HTTP service behind ``aicli serve``: a front process on asyncio, and worker processes that do the work.

settings   what can be set          recipes    how the workers are started (see aicli/workers)
server     listening, clocks, end   answers    records, and errors with their HTTP status
connection, turn: HTTP/1.1          trusted    warm tasks with models of the catalog
app        routes                   quarantine foreign models and functions under resource limits
guard      ids, logs, headers       folders    what a quarantined worker may write to
admission  places before bodies     photos, uploads, pages: the endpoints
pool       the queue before workers
bodies     limits on bodies         store      what survives a restart
params     query parameters         metrics, openapi
origins    whose page it is
"""
