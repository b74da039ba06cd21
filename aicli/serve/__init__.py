"""The HTTP service behind ``aicli serve``: a front process on asyncio, and worker processes that do the work.

settings   what can be set          recipes    how the workers are started (see aicli/workers)
server     uvicorn, signals         answers    records, and errors with their HTTP status
app        routes                   trusted    warm tasks with models of the catalog
guard      ids, logs, headers       quarantine foreign models and functions under resource limits
bodies     limits on bodies
params     query parameters
photos, models, functions, pages    the endpoints
store      what survives a restart  metrics, openapi
"""
