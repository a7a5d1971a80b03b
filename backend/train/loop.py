"""The training loop: one photo per step, from sparse points to frozen rows.

Everything random derives from (seed, epoch) or (seed, step) and everything that lasts is in the
checkpoint, so that a training that was stopped and resumed equals one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from backend.progress import Progress
from backend.render import Rendered, rasterize
from backend.scene import Camera, Gaussians, Photo, Workspace
from backend.scene.gaussians import FIELDS
from backend.train import capped, density
from backend.train.appearance import Appearance, initial_shared
from backend.train.backdrop import coarse_sky
from backend.train.checkpoint import Checkpoint, identity
from backend.train.config import Adaptive, TrainConfig
from backend.train.course import Course
from backend.train.dropout import share_left_out, thinned
from backend.train.initial import initial
from backend.train.losses import photometric, regularisation
from backend.train.outcome import Outcome
from backend.train.parameters import Parameters
from backend.train.poses import Poses
from backend.train.rates import row_rates, shared_rates
from backend.train.similarity import Similarity
from backend.train.sky import over_sky
from backend.train.snapshot import snapshot
from backend.train.solitary import AT as SOLITARY_AT
from backend.train.solitary import solitary
from backend.train.transients import MEMORY_DIVISOR, SUSPICIOUS_SHARE, Transients
from backend.train.views import View, Views
from segwild_addon.protocol.errors import InputError, ResourceError, SegWildError

CHECKPOINT_SECS = 60.0
NEUTRAL_EVERY, NEUTRAL_FROM = 10, 0.2  # every 10th step in neutral light, from 20 % of the steps
COARSE = ((0.0, 4), (0.10, 2), (0.55, 1))  # fraction of the steps from which sides are divided by ...
HARMONICS_FROM = 0.30
SETTLED_FROM = 0.95  # the last steps change no rows
ENTROPY_FROM = 0.5
BAD_ROWS_MAX = 1e-3  # share of rows with a non-finite gradient that stops the training


class Training:
    """One training of a workspace. `run` returns when the rows are frozen and everything is saved."""

    def __init__(
        self, workspace: Workspace, config: TrainConfig, views: Views, progress: Progress, device: str = "cpu"
    ) -> None:
        self.device = device  # where pictures are drawn and rows are kept; a checkpoint continues on any
        self.workspace, self.config, self.views, self.progress = workspace, config, views, progress
        used = [photo.as_captured() for photo in workspace.used_photos()]
        chosen = set(views.names)
        self.photos: list[Photo] = [photo for photo in used if photo.name in chosen]
        self.extent = float(workspace.scene().get("extent", 1.0))
        self.similarity = Similarity()
        self.cameras = density.with_nearest(self.photos, workspace)
        self.step = 0
        self.course = Course()
        self.smooth_loss = math.nan
        self.transients = Transients()
        points = workspace.points()
        self.span = min(points.spread(), self.extent)
        first = initial(points, self.photos, cap=config.density.cap, sh_degree=config.sh_degree, seed=config.seed)
        self.rows = Parameters(self._there(first | config.appearance.initial_rows(len(first["means"]))))
        own_sky = config.own_sky_rate > 0
        self.shared = Parameters(
            self._there(initial_shared(config.appearance, len(views.names), config.seed, own_sky=own_sky))
        )
        self.statistics = density.Statistics.empty(len(self.rows), device)
        self.poses = None
        if config.poses is not None:
            self.poses = Poses.of(self.photos, workspace.photos(), points, config.poses)
        self.identity = identity(config, views.names, len(points.positions), views.masks_digest)

    # The loop.

    def run(self) -> None:
        """Raises ResourceError or SegWildError with what was saved before intact; Cancelled likewise."""
        self._resume()
        config = self.config
        self.progress.phase("Training", config.steps)
        if self.step:
            self.progress.advance(self.step, "resumed")
        saved_at = time.monotonic()
        try:
            while self.step < config.steps:
                loss = self._one_step()
                self.smooth_loss = loss if math.isnan(self.smooth_loss) else 0.98 * self.smooth_loss + 0.02 * loss
                self.step += 1
                if self.step % max(1, config.steps // 200) == 0:
                    turn = None if self.poses is None else self.poses.turn_deg
                    self.course.note(self.step, self.smooth_loss, len(self.rows), turn)
                if time.monotonic() - saved_at > CHECKPOINT_SECS:
                    self._save_checkpoint()
                    saved_at = time.monotonic()
                self.progress.advance(1, f"loss {self.smooth_loss:.4f} · {len(self.rows):,} Gaussians")
                self.progress.show(lambda: snapshot(self.rows))
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise ResourceError(
                "out-of-memory",
                f"Memory ran out at {len(self.rows):,} Gaussians.",
                f"Run again with --cap {len(self.rows) // 2} or a smaller --long-side.",
            ) from error
        self._finish()

    def _one_step(self) -> float:
        config, step = self.config, self.step
        fraction = step / config.steps
        name = self._photo_of(step)
        divisor = next(d for start, d in reversed(COARSE) if fraction >= start)
        view = self.views.view(name, divisor)
        photo = self._colors(view)
        lit = config.appearance.numbers > 0
        neutral = lit and fraction >= NEUTRAL_FROM and step % NEUTRAL_EVERY == NEUTRAL_EVERY - 1
        look = None if neutral else self._look(name)
        policy = config.density
        growing = policy.grow_from * config.steps <= step < policy.grow_until * config.steps
        pulled = growing and isinstance(policy, Adaptive) and not neutral  # gradients decide what multiplies
        camera = view.camera if self.poses is None else self.poses.moved(name, view.camera)
        rendered, image = self._draw(camera, look, fraction, colors_only=neutral, absgrad=pulled)
        if neutral:
            # Each Gaussian settles at its median colour over the photos: that is neutral light.
            ignored = self._ignored_now(view)
            difference = (image - photo).abs()
            if ignored is not None:
                difference = torch.where(ignored[..., None], torch.zeros_like(difference), difference)
            loss = difference.mean()
            reported = self.smooth_loss
        else:
            ignored = self._observe(view, image.detach(), photo, rendered.alpha.detach(), fraction)
            loss = self._trust(name) * photometric(image, photo, ignored, self.similarity, config.ssim)
            reported = loss.item()
            loss = loss + regularisation(
                self.rows["log_scales"],
                self.rows["opacity_logits"],
                config.regularisers,
                extent=self.extent,
                ramp=float(np.clip((fraction - ENTROPY_FROM) / 0.2, 0, 1)),
            )
            if view.sky is not None:
                sky = torch.from_numpy(view.sky).to(self.device)
                loss = loss + config.regularisers.sky * (rendered.alpha * sky).mean()
        if not math.isfinite(loss.item()):
            raise self._diverged("the loss is not a number")
        loss.backward()
        if self.poses is not None:
            self.poses.learn(name, self.rows["means"], self.rows["quats"], fraction)
        if pulled:
            self.statistics.add(rendered.visible, rendered.means2d.absgrad, view.camera)
        penalties = dict.fromkeys(config.appearance.row_rates, config.regularisers.response / len(self.rows))
        rates = row_rates(config, fraction, self.extent, colors_only=neutral)
        bad = self.rows.step(rates, penalties)
        pull = {"skies": config.regularisers.own_sky}
        bad += self.shared.step({} if neutral else shared_rates(config, fraction), pull)
        if bad > BAD_ROWS_MAX * len(self.rows):
            raise self._diverged(f"{bad} rows have gradients that are not numbers")
        if not isinstance(policy, Adaptive) and not neutral and fraction < SETTLED_FROM:
            capped.explore(self.rows, policy, rates["means"], seed=config.seed, step=step)
        self._control_density()
        return loss.item() if math.isnan(reported) else reported

    def _look(self, name: str) -> Tensor:
        """(R + S,), the numbers of a photo."""
        row = self.views.names.index(name)
        return torch.cat([self.shared["embeddings"][row], self.shared["skies"][row]])

    def _photo_of(self, step: int) -> str:
        """Shuffled without replacement, anew each epoch."""
        names = self.views.names
        epoch, place = divmod(step, len(names))
        return names[int(np.random.default_rng((self.config.seed, 2, epoch)).permutation(len(names))[place])]

    def _draw(
        self, camera: Camera, look: Tensor | None, fraction: float, *, colors_only: bool, absgrad: bool
    ) -> tuple[Rendered, Tensor]:
        rows = self.rows

        def held(name: str) -> Tensor:
            return rows[name].detach() if colors_only else rows[name]

        config, logits = self.config, held("opacity_logits")
        share = share_left_out(config.dropout, step=self.step, steps=config.steps, photos=len(self.photos))
        if share > 0 and not colors_only:
            logits = thinned(logits, share, seed=config.seed, step=self.step)
        rendered = rasterize(
            means=held("means"),
            quats=held("quats"),
            log_scales=held("log_scales"),
            opacity_logits=logits,
            sh0=rows["sh0"],
            shN=rows["shN"],
            view=camera,
            sh_degree=self.config.sh_degree if fraction >= HARMONICS_FROM else 0,
            light=self.config.appearance.light(rows.values, self.shared.values, look),
            absgrad=absgrad,
        )
        sky = coarse_sky(camera, self.shared.values, look)
        return rendered, over_sky(rendered.image, rendered.alpha, sky)

    def _observe(self, view: View, image: Tensor, photo: Tensor, alpha: Tensor, fraction: float) -> Tensor | None:
        """The pixels to leave out: found by residual, or masked by the person. (H, W) bool or None."""
        if not self.config.transients:
            return self._either(None, view.ignored)
        full = self.views.cameras[view.name]
        size = (max(1, full.height // MEMORY_DIVISOR), max(1, full.width // MEMORY_DIVISOR))
        known, network = view.candidates, self.config.candidates
        union = network is not None and network.mode == "union"
        if self.device != "cpu":
            there = None if known is None else torch.from_numpy(known).to(self.device)
            found = self.transients.observe_on_device(
                view.name, image, photo, alpha < 0.5, fraction, size, there, union=union
            )
            ignored = self._either(None, view.ignored)
            return found if ignored is None else found | ignored
        sky = (alpha < 0.5).numpy()
        found = self.transients.observe(view.name, image, photo, sky, fraction, size, known, union=union)
        return self._either(found, view.ignored)

    def _trust(self, name: str) -> float:
        """What a photo's difference counts: less where hardly anything of it was explained."""
        share = self.transients.share(name)
        return 1 - share if share > SUSPICIOUS_SHARE else 1.0

    def _ignored_now(self, view: View) -> Tensor | None:
        found = self.transients.mask(view.name, view.pixels.shape[:2]) if self.config.transients else None
        return self._either(found, view.ignored)

    def _either(self, found: np.ndarray | None, ignored: np.ndarray | None) -> Tensor | None:
        parts = [part for part in (found, ignored) if part is not None]
        return torch.from_numpy(np.logical_or.reduce(parts)).to(self.device) if parts else None

    def _colors(self, view: View) -> Tensor:
        """(H, W, 3) float32 in 0..1; bytes travel to a device faster than floats."""
        if self.device == "cpu":
            return torch.from_numpy(view.colors)
        return torch.from_numpy(view.pixels).to(self.device).to(torch.float32) / 255

    def _there(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}

    def _control_density(self) -> None:
        config, policy = self.config, self.config.density
        done = self.step + 1
        if done % density.event_interval(config.steps) or done >= SETTLED_FROM * config.steps:
            return
        growing = policy.grow_from * config.steps <= done < policy.grow_until * config.steps
        if not isinstance(policy, Adaptive):
            capped.relocate(self.rows, self._useless(done), seed=config.seed, step=done)
            if growing:
                capped.grow(self.rows, policy, step=done, steps=config.steps, seed=config.seed)
            self.statistics = density.Statistics.empty(len(self.rows), self.device)
            return
        if growing:
            density.grow(
                self.rows,
                self.statistics,
                policy,
                step=done,
                steps=config.steps,
                span=self.span,
                seed=config.seed,
            )
        drop = self._useless(done)  # before a reset, after which no photo shows much of anything
        if policy.reset_at > 0 and self._due(done, policy.reset_at):
            density.reset_opacities(self.rows, policy)
        if drop.any() and not drop.all():
            self.rows.take((~drop).nonzero()[:, 0])
        self.statistics = density.Statistics.empty(len(self.rows), self.device)

    def _due(self, done: int, *fractions: float) -> bool:
        """Whether this event of density control is the first one after one of these fractions of the steps."""
        steps = self.config.steps
        return any(done - density.event_interval(steps) < fraction * steps <= done for fraction in fractions)

    def _useless(self, done: int) -> Tensor:
        """(N,) bool: rows to drop."""
        drop = density.useless(self.rows, self.config.density, extent=self.extent, cameras=self.cameras)
        if self.config.solitary or not self._due(done, *SOLITARY_AT):
            return drop
        scene = Gaussians(**{name: self.rows[name].detach().cpu().numpy() for name in FIELDS})
        cameras = [photo.camera for photo in self.photos if photo.camera is not None]
        found = solitary(scene, cameras, self.device, looked=lambda: self.progress.advance(0))
        return drop | torch.from_numpy(found).to(drop.device)

    def _diverged(self, why: str) -> SegWildError:
        return SegWildError(
            "diverged",
            f"Training diverged at step {self.step}: {why}. Nothing was overwritten.",
            "Run again with another --seed; if it persists, leave out the photos the capture warned about.",
        )

    # Keeping what was learned.

    def _save_checkpoint(self) -> None:
        Checkpoint(
            identity=self.identity,
            step=self.step,
            smooth_loss=self.smooth_loss,
            rows=self.rows,
            shared=self.shared,
            statistics=self.statistics,
            transients=self.transients,
            poses={} if self.poses is None else self.poses.state(),
            course=self.course,
        ).write(self.workspace.checkpoint)

    def _resume(self) -> None:
        """Continue from the checkpoint if it belongs to this very training; otherwise start anew."""
        found = Checkpoint.read(self.workspace.checkpoint, self.identity, self.device, self.progress)
        if found is None:
            return
        self.rows, self.shared, self.statistics, self.course = found.rows, found.shared, found.statistics, found.course
        self.transients, self.step, self.smooth_loss = found.transients, found.step, found.smooth_loss
        if self.poses is not None:
            self.poses.restore(found.poses)

    def _finish(self) -> None:
        """Freeze the row order and write the artefacts, beside those of an earlier training until all are whole.

        Raises InputError if somebody made objects of the old Gaussians meanwhile, and then keeps a checkpoint alone.
        """
        workspace = self.workspace
        self._refuse_objects()
        drop = density.useless(self.rows, self.config.density, extent=self.extent, cameras=self.cameras)
        sound = torch.stack(
            [torch.isfinite(value.reshape(len(self.rows), -1).sum(1)) for value in self.rows.values.values()]
        )
        keep = (~drop & sound.all(0)).nonzero()[:, 0]
        if not len(keep):
            raise self._diverged("no Gaussian is left")
        self._save_checkpoint()
        final = {name: value.detach()[keep].cpu() for name, value in self.rows.values.items()}
        shared = {name: value.detach().cpu() for name, value in self.shared.values.items()}
        Outcome(
            gaussians=Gaussians(**{name: final[name].numpy() for name in FIELDS}),
            looks=Appearance.of(self.views.names, self.config.appearance, shared, final),
            masks=self._masks(),
            photos=self._photos_with_cameras(),
        ).save(workspace, self._refuse_objects)
        workspace.checkpoint.unlink(missing_ok=True)

    def _refuse_objects(self) -> None:
        """Raises InputError if there are named objects: they refer to rows that are about to go."""
        if self.workspace.segments.exists():
            self._save_checkpoint()
            raise InputError(
                "objects-exist",
                "Objects were made during the training, of the Gaussians that it would replace. The training is kept.",
                "Delete them with segwild objects WORKSPACE delete NAME ... and train with the same settings again "
                "(without --restart), which ends at once. Or keep them and train in a new workspace.",
            )

    def _photos_with_cameras(self) -> list[Photo]:
        """All photos of the workspace with the cameras they were trained with; the captured ones stay noted."""
        photos = [photo.as_captured() for photo in self.workspace.photos()]
        if self.poses is None:
            return photos
        trained = set(self.views.names)
        return [
            photo.refined(self.poses.moved(photo.name, photo.camera))
            if photo.name in trained and photo.camera is not None
            else photo
            for photo in photos
        ]

    def _masks(self) -> Iterator[tuple[str, np.ndarray]]:
        """What was left out of each photo: what was judged transient, masks of the person, frames. Warns at the end."""
        suspicious = []
        for name in self.views.names:
            camera = self.views.cameras[name]
            found = self.transients.mask(name, (camera.height, camera.width)) if self.config.transients else None
            if self.transients.share(name) > SUSPICIOUS_SHARE:
                suspicious.append(name)
            ignored = self._either(found, self.views.view(name).ignored)
            if ignored is not None:
                yield name, ignored.cpu().numpy()
        if suspicious:
            self.progress.warn(
                "mostly-transient",
                f"In each of these photos more than {SUSPICIOUS_SHARE:.0%} of the pixels could not be explained and "
                "were ignored.",
                suspicious,
            )
