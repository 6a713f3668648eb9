"""model = load(); unit embeddings of pictures and texts: model.image(uint8 [B, S, S, 3]), model.text(["two dogs"])."""
import json, pathlib, safetensors.torch, torch, torchvision, transformers
class Tower(torchvision.models.ResNet):  # of any width, where torchvision's is 64
    def __init__(self, layers, width):
        self.width = width
        super().__init__(torchvision.models.resnet.Bottleneck, layers)
        self.fc = torch.nn.Identity()
    def _make_layer(self, block, planes, *args, **kwargs):
        if planes == 64:
            self.inplanes, self.bn1 = self.width, torch.nn.BatchNorm2d(self.width)
            self.conv1 = torch.nn.Conv2d(3, self.width, 7, 2, 3, bias=False)
        return super()._make_layer(block, planes * self.width // 64, *args, **kwargs)

class load:
    def __init__(self, folder=pathlib.Path(__file__).parent):
        read = lambda name: safetensors.torch.load_file(folder / name)
        self.config, self.heads = json.loads((folder / "config.json").read_text()), read("projections.safetensors")
        self.mean, self.std = (torch.tensor(self.config["image"][name]) for name in ("mean", "std"))
        self.tower, kind = Tower(self.config["image"]["layers"], self.config["image"]["width"]), self.heads["logit_scale"].dtype
        self.tower.to(kind).eval().load_state_dict(read("image.safetensors"))
        self.bert = transformers.BertModel.from_pretrained(folder / "text", add_pooling_layer=False).to(kind).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "text")
    def image(self, pixels):
        features = self.tower(((pixels / 255 - self.mean) / self.std).permute(0, 3, 1, 2).to(self.heads["logit_scale"].dtype))
        return torch.nn.functional.normalize(features @ self.heads["image_projection.weight"].T)
    def text(self, texts):
        ids = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        hidden, mask = self.bert(ids.input_ids, ids.attention_mask)[0], ids.attention_mask.unsqueeze(-1)
        pooled = hidden[:, 0] if self.config["text"]["pooling"] == "cls" else (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(pooled @ self.heads["text_projection.weight"].T)
