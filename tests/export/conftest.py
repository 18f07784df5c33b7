"""The first project's networks in PyTorch, built from their descriptions: an oracle that shares no code with ours."""

import pytest


@pytest.fixture(scope="session")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="session")
def base_cnn_of(torch, torch_base_cnn):
    """A function from a number of channels to a BaseCNN with random weights, ready for use."""
    return lambda channels: randomised(torch, torch_base_cnn(channels))


@pytest.fixture(scope="session")
def resnet50_of(torch):
    """A function that builds a ResNet50 with seven classes, random weights and plausible statistics.

    It takes the channels of the first convolution, of which the original has 64.
    """
    nn = torch.nn

    class Bottleneck(nn.Module):
        def __init__(self, inputs, width, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
            self.downsample = None
            if stride > 1 or inputs != 4 * width:
                convolution = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False)
                self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(4 * width))

        def forward(self, x):
            y = self.bn1(self.conv1(x)).relu()
            y = self.bn2(self.conv2(y)).relu()
            y = self.bn3(self.conv3(y))
            return (y + (x if self.downsample is None else self.downsample(x))).relu()

    class ResNet(nn.Module):
        def __init__(self, first):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, first, 7, 2, 3, bias=False), nn.BatchNorm2d(first)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            inputs = first
            for stage, (blocks, width) in enumerate(((3, first), (4, 2 * first), (6, 4 * first), (3, 8 * first)), 1):
                layers = []
                for block in range(blocks):
                    layers.append(Bottleneck(inputs, width, 2 if stage > 1 and block == 0 else 1))
                    inputs = 4 * width
                setattr(self, f"layer{stage}", nn.Sequential(*layers))
            self.fc = nn.Linear(32 * first, 7)

        def forward(self, x):
            x = self.maxpool(self.bn1(self.conv1(x)).relu())
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(x.mean((2, 3)))

    return lambda first=64: randomised(torch, ResNet(first))


def randomised(torch, network):
    """Gives the norms the statistics of varied images."""
    torch.manual_seed(0)
    channels = next(iter(network.parameters())).shape[1]
    coarse = torch.rand(32, channels, 6, 6) * torch.rand(32, 1, 1, 1) * 2 - 1
    images = torch.nn.functional.interpolate(coarse, 48, mode="bilinear") + torch.rand(32, channels, 48, 48) * 0.2
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0, 0.2)
        norm.momentum = 1.0
    for name, module in network.named_modules():
        if name.endswith("bn3"):  # as in trained networks, a block changes little of what goes past it
            torch.nn.init.uniform_(module.weight, 0.1, 0.4)
    with torch.no_grad():
        network.train()(images)
    return network.eval()


@pytest.fixture(scope="session")
def decide(torch):
    """A function that gives a network's last layer logits of mean 0 and deviation 1 on given images."""

    def change(network, images):
        with torch.no_grad():
            logits = network(images)
            weight, bias = list(network.parameters())[-2:]
            spread = logits.std(dim=0).mean()
            weight /= spread
            bias.copy_((bias - logits.mean(dim=0)) / spread)

    return change
