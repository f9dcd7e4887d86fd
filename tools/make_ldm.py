"""Make the embedded inpainting model from nothing but a seed: pictures, autoencoder, codebook, UNet, card.

    python tools/make_ldm.py --work /tmp/ldm --out pipeline/models/embedded/ldm

What is finished in ``--work`` (pictures, autoencoder) is used again. One CPU core is enough; the card says how long it took.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.models.ldm import Part, make_scheduler, save_ldm
from pipeline.models.weights import load_weights, save_weights
from tools.ldm_card import write_card
from tools.ldm_pictures import make_pictures
from tools.ldm_train import Pictures, encode_pictures, fit_codebook, new_vqvae, train_autoencoder, train_decoder, train_unet


def parse_arguments() -> argparse.Namespace:
    """Return the arguments; their defaults made the weights that are shipped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for pictures and what is half done")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=640, help="synthetic streets, 8 pictures and 32 crops of each")
    parser.add_argument("--crop", type=int, default=96, help="size of a crop in pixels")
    parser.add_argument("--autoencoder-steps", type=int, default=4000)
    parser.add_argument("--decoder-steps", type=int, default=300)
    parser.add_argument("--examples", type=int, default=8192, help="crops from which the UNet learns")
    parser.add_argument("--unet-steps", type=int, default=3500)
    parser.add_argument("--threads", type=int, default=1, help="results differ a little with other numbers")
    return parser.parse_args()


def make_vqvae(arguments: argparse.Namespace, pictures: Pictures) -> Part:
    """Return the trained autoencoder, from the work folder where it is there."""
    steps, decoder_steps = arguments.autoencoder_steps, arguments.decoder_steps
    path = arguments.work / f"vqvae-{steps}-{decoder_steps}.safetensors"
    if not path.is_file():
        vqvae = train_autoencoder(pictures, steps=steps, batch=12, crop=32, seed=arguments.seed)
        fit_codebook(vqvae, pictures, seed=arguments.seed)
        train_decoder(vqvae, pictures, steps=decoder_steps, batch=12, crop=32, seed=arguments.seed)
        save_weights(vqvae.state_dict(), path)  # half precision, so that the UNet learns from the latents as shipped
    vqvae = new_vqvae()
    vqvae.load_state_dict(load_weights(path))
    return vqvae


def main() -> None:
    """Make everything that is missing, then the model folder."""
    arguments = parse_arguments()
    begin = time.process_time()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    folder = arguments.work / "pictures"
    if not (folder / "masks.npy").is_file():
        make_pictures(
            folder, seed=arguments.seed, scenes=arguments.scenes, per_scene=8, crops_per_scene=32, size=arguments.crop
        )
    pictures = Pictures.load(folder)
    vqvae = make_vqvae(arguments, pictures)
    latents = encode_pictures(vqvae, pictures.first(arguments.examples), seed=arguments.seed)
    unet, losses = train_unet(latents, steps=arguments.unet_steps, batch=32, seed=arguments.seed)
    save_ldm(arguments.out, vqvae, unet, make_scheduler("v_prediction"))
    minutes = (time.process_time() - begin) / 60
    recipe = (
        f"seed {arguments.seed}; autoencoder {arguments.autoencoder_steps} steps of 12 windows of 32 x 32, codes by "
        f"k-means, decoder {arguments.decoder_steps} steps on quantised latents; UNet {arguments.unet_steps} steps of 32 "
        "windows of 64 x 64, AdamW, cosine, running mean of the weights, loss outside the hole counted a tenth: "
        f"{np.mean(losses[-200:]):.3f} (mean of the last 200 steps). The last run of the script took {minutes:.0f} minutes "
        "of one core."
    )
    facts = {"scenes": arguments.scenes, "crops": len(pictures.masks_NHW), "recipe": recipe}
    (arguments.work / "training.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    write_card(arguments.out, facts)


if __name__ == "__main__":
    main()
