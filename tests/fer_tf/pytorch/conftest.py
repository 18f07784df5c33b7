import pytest


@pytest.fixture(scope="session")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def base_cnn(torch, torch_base_cnn):
    """PyTorch's BaseCNN of two channels, with weights and statistics as different as trained ones."""
    torch.manual_seed(0)
    network = torch_base_cnn(2).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.2)
    return network
