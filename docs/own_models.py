"""Networks of your own, trained without nid: `python docs/own_models.py resnet18 --seeds 2 --data-dir DIR`."""

import argparse

import torch
from torch import nn
from torchvision.datasets import MNIST
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vision_transformer import VisionTransformer


class Half(ResNet):
    def _make_layer(self, block, planes, *args, **kwargs):
        self.inplanes = 32 if planes == 64 else self.inplanes
        return super()._make_layer(block, planes // 2, *args, **kwargs)


def resnet18():
    net = Half(BasicBlock, [2, 2, 2, 2])
    net.conv1, net.bn1 = nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
    net.fc = nn.Linear(256, 10)
    return net


def vit():
    net = VisionTransformer(28, 7, num_layers=4, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=10)
    net.conv_proj = nn.Conv2d(1, 64, 7, 7)
    return net


if __name__ == "__main__":
    cli = argparse.ArgumentParser()
    cli.add_argument("model", choices=["resnet18", "vit"])
    for name, usual in (("seeds", 2), ("epochs", 3), ("samples", 60000), ("data-dir", "data"), ("lr", 1e-3)):
        cli.add_argument(f"--{name}", type=type(usual), default=usual)
    own = cli.parse_args()
    data = MNIST(own.data_dir)
    x, y = (data.data[: own.samples, None] / 255 - 0.1307) / 0.3081, data.targets[: own.samples]
    for seed in range(1, own.seeds + 1):
        torch.manual_seed(seed)
        net = globals()[own.model]()
        torch.save(net.state_dict(), f"{own.model}-{seed}-init.pt")
        steps = own.epochs * -(-len(x) // 64)
        optimizer = torch.optim.AdamW(net.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, own.lr, total_steps=steps)
        for _ in range(own.epochs):
            for index in torch.randperm(len(x)).split(64):
                loss = nn.functional.cross_entropy(net(x[index]), y[index])
                optimizer.zero_grad(), loss.backward(), optimizer.step(), schedule.step()
        torch.save(net.state_dict(), f"{own.model}-{seed}.pt")
        print(own.model, seed, float(loss.detach()))
