"""Does stored augmentation help? The same short training on shards with none, image, text and both
kinds of augmentation, three seeds each; a table of recalls on held-out images.

    cargo build --release --features train --bins --example scenes
    python3 benches/augmentation/run.py                        # generated scenes
    python3 benches/augmentation/run.py --photos IMAGES CSV    # photos, and a CSV of image,caption

Needs WordNet and apertium (apt-get install wordnet-base apertium apertium-eng-spa). What is done
already in --work is not done again.
"""

import argparse
import csv
import json
import os
import shlex
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RELEASE = Path(ROOT / os.environ.get("CARGO_TARGET_DIR", "target"), "release")

IMAGE = "--views 4 --crop-scale 0.6,1.0 --flip 0.5 --jitter 0.2,0.2,0.2,0.02"
TEXT = "--synonyms 0.3 --back-translate 'apertium -u eng-spa | apertium -u spa-eng'"
KINDS = {"none": "", "image": IMAGE, "text": TEXT, "both": f"{IMAGE} {TEXT}"}
SEEDS = [0, 1, 2]
RECALLS = [("text_to_image", 1), ("text_to_image", 10), ("image_to_text", 1), ("image_to_text", 10)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", nargs=2, metavar=("IMAGES", "CSV"), help="instead of scenes: a folder and its captions")
    parser.add_argument("--held-out", type=int, default=100, help="photos that are not trained on [default: 100]")
    parser.add_argument("--work", type=Path, default=ROOT / "target/augmentation", help="folder of what is made")
    parser.add_argument("--epochs", type=int, help="epochs of each training [default: 16 for scenes, 60 for photos]")
    args = parser.parse_args()
    name = "photos" if args.photos else "scenes"
    work = args.work.resolve() / name
    work.mkdir(parents=True, exist_ok=True)
    source = photos(*args.photos, args.held_out, work) if args.photos else scenes(work)
    epochs = args.epochs or (60 if args.photos else 16)
    results = {kind: [measure(work, source, kind, seed, epochs) for seed in SEEDS] for kind in KINDS}
    print(table(results))


def scenes(work: Path) -> str:
    """1,300 scenes to train on, 200 held out."""
    out = work / "scenes"
    if not out.exists():
        run(RELEASE / "examples/scenes", "--out", work / "scenes.part", "-n", 1600)
        (work / "scenes.part").rename(out)
    return f"coco --images {quoted(out / 'images')} --karpathy {quoted(out / 'dataset.json')}"


def photos(images: str, captions: str, held_out: int, work: Path) -> str:
    """The last photos by name are held out."""
    with open(captions, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["image"] for row in rows})
    test = set(names[len(names) - held_out :])
    path = work / "pairs.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "split"])
        writer.writerows([row["image"], row["caption"], "test" if row["image"] in test else "train"] for row in rows)
    folder = quoted(Path(images).resolve())
    return f"table --table {quoted(path)} --images {folder} --key-column image --split-column split"


def measure(work: Path, source: str, kind: str, seed: int, epochs: int) -> dict:
    """Recalls of one training."""
    shards, out = work / f"shards-{kind}", work / f"run-{kind}-{seed}"
    result = work / f"recalls-{kind}-{seed}-{epochs}.json"
    if result.exists():
        return json.loads(result.read_text())
    run(RELEASE / "prepare", *shlex.split(source), "--size", 64, *shlex.split(KINDS[kind]), "--out", shards, "--quiet")
    stage = f'stage=[{{name = "all", epochs = {epochs}, train = ["image", "text", "projection"]}}]'
    config = ["--preset", "tiny", "--set", f"run.seed={seed}", "--set", stage]
    run(RELEASE / "train", "--data", shards, "--out", out, "--resume", "--quiet", *config)
    # Every kind is held against the same clean pictures and original captions.
    evaluate = [RELEASE / "clip", "evaluate", "--run", out, "--data", work / "shards-none", "--split", "test", "--json"]
    recalls = json.loads(subprocess.run([str(word) for word in evaluate], check=True, capture_output=True).stdout)
    result.write_text(json.dumps(recalls))
    return recalls


def table(results: dict) -> str:
    any_run = results["none"][0]
    lines = [f"{any_run['images']} held-out images, {any_run['captions']} captions; means of {len(SEEDS)} seeds (lowest–highest), %", ""]
    lines.append("| augmentation | " + " | ".join(f"{way.replace('_to_', ' → ')} R@{k}" for way, k in RECALLS) + " |")
    lines.append("|---|" + "---:|" * len(RECALLS))
    for kind, runs in results.items():
        cells = []
        for way, k in RECALLS:
            values = [100 * recalls[way][f"recall@{k}"] for recalls in runs]
            cells.append(f"{statistics.mean(values):.1f} ({min(values):.1f}–{max(values):.1f})")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def quoted(path: Path) -> str:
    return shlex.quote(str(path))


def run(*command) -> None:
    words = [str(word) for word in command]
    print("$", shlex.join(words), flush=True)
    subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
