"""One thread for models this small.

Several cost more than they bring, many times more on a busy machine; and sums on another number of threads round
differently, while some tests compare a run in this process with one in another, bit for bit.
"""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
