"""What one would write without a framework: a network, a freeze, a loop over seeds; for comparison.

    python benchmarks/plain_torch.py --model resnet50 --mode frozen --image-size 128 --seeds 5

The same radiographs, batches, epochs and optimizer as the project's run with the same options.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from xray_tl.config import SyntheticDataConfig
from xray_tl.data.synthetic.radiograph import SyntheticRadiographs
from xray_tl.store.allocator import keep_large_blocks

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def load(split: str, count: int, size: int) -> tuple[Tensor, Tensor]:
    """Render a split: images [N, 3, H, W] and labels [N, 1]."""
    source = SyntheticRadiographs(SyntheticDataConfig(image_size=size), split=split, seed=0)
    drawn = [source.render(index) for index in torch.split(torch.arange(count), 64)]
    image = torch.cat([part.image for part in drawn]).expand(-1, 3, -1, -1)
    return (image - MEAN) / STD, torch.cat([part.label for part in drawn])[:, None].float()


def build(model: str, mode: str, weights: Path | None = None) -> tuple[nn.Module, list[nn.Parameter]]:
    """Return a network with one logit, and what of it trains."""
    net = models.get_model(model, weights=None)
    if weights is not None:
        net.load_state_dict(torch.load(weights, weights_only=True))
    if isinstance(net, models.VGG):
        net.classifier[6] = head = nn.Linear(4096, 1)
        last = [*net.classifier[3].parameters()]
    else:
        net.fc = head = nn.Linear(net.fc.in_features, 1)
        last = [*net.layer4.parameters()]
    if mode != "finetune":
        net.requires_grad_(requires_grad=False)
    opened = [*head.parameters(), *(last if mode == "partial" else [])]
    for parameter in opened:
        parameter.requires_grad_(requires_grad=True)
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    return net.to(memory_format=torch.channels_last), trained


def train_mode(net: nn.Module, mode: str) -> None:
    """Hold what is frozen in evaluation."""
    net.train(mode == "finetune")
    if mode == "partial":
        deepest = net.classifier[3:] if isinstance(net, models.VGG) else net.layer4
        deepest.train()


@torch.no_grad()
def score(net: nn.Module, image: Tensor, label: Tensor, batch: int) -> float:
    """Return the AUROC."""
    net.eval()
    logits = torch.cat([net(part) for part in torch.split(image, batch)])
    return float(roc_auc_score(label[:, 0], logits[:, 0]))


def parse() -> argparse.Namespace:
    """Read the options, the same for each of these scripts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--mode", default="frozen", choices=["frozen", "partial", "finetune"])
    for name, value in {"image-size": 128, "train": 800, "val": 200, "test": 400, "epochs": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--weights", type=Path, help="a state_dict of the whole network")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    """Train every seed and print its test AUROC."""
    options = parse()
    keep_large_blocks()
    sizes = {"train": options.train, "val": options.val, "test": options.test}
    data = {split: load(split, count, options.image_size) for split, count in sizes.items()}
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        net, trained = build(options.model, options.mode, options.weights)
        optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
        image, label = data["train"]
        best, best_state = -1.0, net.state_dict()
        for epoch in range(options.epochs):
            train_mode(net, options.mode)
            for rows in torch.split(torch.randperm(len(image)), options.batch):
                optimizer.zero_grad(set_to_none=True)
                functional.binary_cross_entropy_with_logits(net(image[rows]), label[rows]).backward()
                optimizer.step()
            auroc = score(net, *data["val"], options.batch)
            if auroc > best:
                best, best_state = auroc, {key: value.clone() for key, value in net.state_dict().items()}
            print(f"seed {seed} epoch {epoch}: val AUROC {auroc:.3f}")
        net.load_state_dict(best_state)
        print(f"seed {seed}: test AUROC {score(net, *data['test'], options.batch):.3f}")


if __name__ == "__main__":
    main()
