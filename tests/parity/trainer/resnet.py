"""torchvision's Bottleneck ResNet without `fc`, for any number of blocks and base planes."""

from torch import Tensor, nn
from torch.nn.functional import relu

EXPANSION = 4


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, planes: int, stride: int):
        super().__init__()
        outputs = planes * EXPANSION
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, xs: Tensor) -> Tensor:
        kept = xs if self.downsample is None else self.downsample(xs)
        xs = relu(self.bn1(self.conv1(xs)))
        xs = relu(self.bn2(self.conv2(xs)))
        return relu(self.bn3(self.conv3(xs)) + kept)


class ResNet(nn.Module):
    def __init__(self, layers: list[int], width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs = width
        for number, blocks in enumerate(layers):
            planes = width << number
            strides = [1 if number == 0 else 2] + [1] * (blocks - 1)
            made = []
            for stride in strides:
                made.append(Bottleneck(inputs, planes, stride))
                inputs = planes * EXPANSION
            self.add_module(f"layer{number + 1}", nn.Sequential(*made))
        self.features = inputs

    def forward(self, xs: Tensor) -> Tensor:
        xs = self.maxpool(relu(self.bn1(self.conv1(xs))))
        xs = self.layer4(self.layer3(self.layer2(self.layer1(xs))))
        return xs.mean((2, 3))  # [batch, features]
