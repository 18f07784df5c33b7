"""The first project's webcam loop, rebuilt from its description as a baseline.

It finds frontal faces by a Haar cascade (scale 1.3, 5 neighbors) on the full gray frame. Each face goes through two
ResNet50s, one after the other: as three gray channels, and sharpened. The sharpening works in 8 bits at 224 x 224 and
wraps around. Two labels are drawn over the box. Other causes of slowness are left out: the original showed only every
third frame, while here all are analyzed, and the sharpening is vectorized.

`python -m benchmarks.original_loop FRAMES.npy ONE.pth TWO.pth` reads numbers of frames from standard input, one per
line, analyzes that many frames, and answers with a line of JSON: seconds and faces.
"""

import json
import sys
import time
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import nn

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
THREADS = 2


class Bottleneck(nn.Module):
    """Torchvision's, of its version 1.5: the stride is in the 3 x 3 convolution."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.relu, self.downsample = nn.ReLU(inplace=True), None
        if stride > 1 or inputs != 4 * width:
            convolution = nn.Conv2d(inputs, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns float32 [N, 4 * width, H / stride, W / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """Torchvision's, with seven classes and the keys of its checkpoints."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
            layers = []
            for block in range(blocks):
                layers.append(Bottleneck(inputs, width, 2 if stage > 1 and not block else 1))
                inputs = 4 * width
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
        self.fc = nn.Linear(2048, len(LABELS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns logits, float32 [N, 7], for float32 [N, 3, H, W]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def load(path: str) -> ResNet50:
    """Returns the network of a checkpoint, ready for use."""
    network = ResNet50()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def to_tensor(gray: np.ndarray) -> torch.Tensor:
    """Returns float32 [1, 3, 224, 224], -1 to 1, of uint8 [224, 224]."""
    channels = torch.from_numpy(np.stack([gray] * 3))
    return (channels.float() / 127.5 - 1)[None]


def sharpen(gray: np.ndarray) -> np.ndarray:
    """Returns the unsharp mask in 8 bits, which wraps."""
    return gray + 2 * (gray - cv2.GaussianBlur(gray, (3, 3), 1))


def analyze(frame: np.ndarray, cascade: cv2.CascadeClassifier, networks: list[ResNet50]) -> int:
    """Labels the faces of a frame on the frame itself and returns their number."""
    gray = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    boxes = cascade.detectMultiScale(gray, 1.3, 5)
    for x, y, width, height in boxes:
        face = cv2.resize(gray[y : y + height, x : x + width], (224, 224))
        cv2.rectangle(frame, (x, y), (x + width, y + height), (255, 0, 0), 2)
        for row, (network, image) in enumerate(zip(networks, (face, sharpen(face)), strict=True)):
            with torch.no_grad():
                label = LABELS[int(network(to_tensor(image)).argmax())]
            cv2.putText(frame, label, (x, y - 10 - 30 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (36, 255, 12), 2)
    return len(boxes)


def serve(frames: np.ndarray, networks: list[ResNet50]) -> Iterator[dict]:
    """Yields the seconds, the CPU seconds and the number of faces for each line of standard input."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    for line in sys.stdin:
        images = [frames[index % len(frames)].copy() for index in range(int(line))]
        start, start_cpu = time.perf_counter(), time.process_time()
        faces = sum(analyze(image, cascade, networks) for image in images)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
        yield {"seconds": seconds, "cpu_seconds": cpu_seconds, "faces": faces}


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    for answer in serve(np.load(sys.argv[1]), [load(path) for path in sys.argv[2:4]]):
        print(json.dumps(answer), flush=True)
