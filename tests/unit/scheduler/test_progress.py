import pickle

from scheduler.progress import ChunkProgress, ChunkState, JobSnapshot


def test_a_snapshot_counts_its_chunks_and_crosses_a_process_line() -> None:
    chunks = tuple(
        ChunkProgress(index=index, state=state, frames_total=10)
        for index, state in enumerate(
            [ChunkState.DONE, ChunkState.DONE, ChunkState.RUNNING, ChunkState.WAITING]
        )
    )
    snapshot = JobSnapshot(
        job_id="j", phase="render", chunks=chunks, frames_done=20, frames_total=40
    )
    again = pickle.loads(pickle.dumps(snapshot))
    assert again == snapshot
    assert [again.count(state) for state in ChunkState] == [1, 1, 0, 2, 0]
