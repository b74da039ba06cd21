"""The HTTP service behind ``aicli serve``: a front process on asyncio, and worker processes that do the work.

settings   what can be set          wire       frames between front and workers
server     uvicorn, signals         pool       queue, deadlines, replacing workers
app        routes                   process    one child process seen from the front
guard      ids, logs, headers       worker     the child's loop
bodies     limits on bodies         trusted    warm tasks with models of the catalog
params     query parameters         quarantine foreign models and functions under resource limits
photos, models, functions, pages    the endpoints
store      what survives a restart  metrics, openapi
"""
