"""A memory in shards on the workers of a Dask cluster.

Needs the extra "distributed" (``pip install 'skuhop[distributed]'``), which is imported
when a cluster is first looked for.
"""

from skuhop.distributed._sharded_memory import ShardedMemory

__all__ = ["ShardedMemory"]
