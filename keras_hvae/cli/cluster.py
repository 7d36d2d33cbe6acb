"""Commands on a Ray cluster.

Ray, because it does both in one: bulk inference (Ray Data) and training in
several processes (Ray Train), and restarts workers that are lost.
"""

import argparse
import json
import pathlib

from keras_hvae.arguments import check_positive_int


def on_cluster(verb: str, args: argparse.Namespace) -> None:
    """Runs `encode`, `score` or `generate` by Ray Data, part by part.

    One task reads each file; each worker has a model and writes parts.
    """
    from keras_hvae.cli import bulk

    check_positive_int(workers=args.workers, batch_size=args.batch_size)
    files = bulk.start(verb, args)
    ray = _connect(args.cluster)
    out = pathlib.Path(args.out).resolve()
    args = argparse.Namespace(
        **{k: v for k, v in vars(args).items() if k != "run"}
    )
    args.out = str(out)

    def read(row):
        path = pathlib.Path(row["path"])
        for part in bulk.parts(path, row["number"], args.key):
            if not (out / part.name).exists():
                yield {"part": json.dumps(part)}

    class Worker:
        def __init__(self):
            self.worker = bulk.Worker(verb, args)

        def __call__(self, batch):
            parts = [bulk.Part(*json.loads(x)) for x in batch["part"]]
            for part in parts:
                self.worker.do(part)
            return {"name": [part.name for part in parts]}

    # A block a part: Ray gives a worker no less than a block.
    ray.data.DataContext.get_current().target_max_block_size = 1
    items = [
        {"path": str(x.resolve()), "number": i} for i, x in enumerate(files)
    ]
    done = (
        ray.data.from_items(items, override_num_blocks=len(items))
        # Readers are not to wait for workers that hold all processors.
        .flat_map(read, num_cpus=0.1)
        .map_batches(
            Worker,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=args.workers),
        )
    )
    for _ in done.iter_rows():
        pass
    counts = bulk.finish(args)
    text = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    print(f"{args.out}/: {text}")


def _connect(address):
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(
            "`--cluster` needs Ray: pip install 'keras-hvae[cluster]'. "
            f"Received: {error}"
        ) from error
    ray.init(
        address=None if address == "local" else address,
        include_dashboard=False,
        ignore_reinit_error=True,
        log_to_driver=False,
    )
    return ray
