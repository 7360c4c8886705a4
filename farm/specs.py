"""From the settings in force to the settings that a job carries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from farm.options.settings import Settings
from scheduler.detection import DetectorSettings, LandmarkerSettings
from scheduler.errors import SettingInvalid
from scheduler.identities import SPACES
from scheduler.jobs import (
    FILTERS,
    AnalyseSettings,
    EncoderSettings,
    EnhancerSettings,
    FaceChoice,
    Role,
    StabilizeSettings,
    SwapSettings,
)
from scheduler.masks import MaskSettings
from scheduler.needs import needs_expression
from scheduler.output import STILLS, CutSettings, ImageSettings, SoundSettings

CODECS: Final = {
    "libx264": ("veryfast", 18),
    "libx264rgb": ("veryfast", 18),
    "libx265": ("fast", 20),
    "libsvtav1": ("8", 26),
    "libvpx-vp9": ("fast", 24),
    "ffv1": ("", 0),
    "h264_nvenc": ("medium", 20),
    "hevc_nvenc": ("medium", 22),
    "h264_qsv": ("medium", 20),
    "hevc_qsv": ("medium", 22),
}
"""Preset and CRF of each codec unless the user says otherwise: visually near lossless."""

_COARSEST: Final = {"libsvtav1": 63, "libvpx-vp9": 63}
"""The largest CRF where it is not 51."""


def encoder_settings(settings: Settings) -> EncoderSettings:
    """How the pictures are encoded.

    Raises:
        SettingInvalid: a quality beyond the codec's scale, or said in two ways.
    """
    section, percent = settings.encoder, settings.output_video.quality
    preset, quality = CODECS[section.codec]
    worst = _COARSEST.get(section.codec, 51)
    if section.quality is not None and percent is not None:
        raise SettingInvalid(
            f"--quality {section.quality} with --output-video-quality {percent}",
            "one of them",
            "leave one of them out",
        )
    if section.quality is not None:
        quality = section.quality
    elif percent is not None:
        quality = round(worst * (1 - percent / 100))
    if quality > worst:
        raise SettingInvalid(
            f"quality {quality} for {section.codec}",
            f"a CRF of 0 (best) to {worst}",
            "correct --quality",
        )
    return EncoderSettings(
        codec=section.codec,
        preset=section.preset or preset,
        quality=quality,
        pix_fmt=section.pix_fmt,
        threads=section.threads,
        scale=settings.output_video.scale,
    )


def stabilize_settings(settings: Settings) -> StabilizeSettings:
    """The temporal filters."""
    return StabilizeSettings(**{name: name in settings.stabilize for name in FILTERS})


def recognizer(settings: Settings) -> str:
    """Who tells people apart: the named one, else the one that suits the swapper."""
    from actors.face_networks import recognizer_for  # loads the runtimes: not for `farm --help`

    return settings.face_recognizer.model or recognizer_for(swap_settings(settings))


def analyse_settings(settings: Settings) -> AnalyseSettings:
    """How faces are found and tracked."""
    detector, landmarker = settings.face_detector, settings.face_landmarker
    default = AnalyseSettings()
    return AnalyseSettings(
        # Where a swapper needs the pose only, the landmarker rests between keyframes.
        expression=needs_expression(swap_settings(settings)),
        occlusion=settings.occlusion,
        objects=settings.objects and landmarker.model == "mesh",
        interval=settings.detect_every,
        tracker_score=settings.face_tracker.score or default.tracker_score,
        detector=DetectorSettings(
            model=detector.model,
            size=detector.size,
            score=detector.score,
            margin=detector.margin,
            angles=detector.angles,
        ),
        landmarker=LandmarkerSettings(
            model=landmarker.model, score=landmarker.score, precision=landmarker.precision
        ),
    )


def face_choice(settings: Settings, references: Sequence[str]) -> FaceChoice:
    """Which faces are swapped.

    Args:
        references: pictures of the person to look for.

    Raises:
        SettingInvalid: options that do not go together.
    """
    selector, reference = settings.face_selector, settings.reference
    named = bool(references) or reference.frame_number is not None
    mode = selector.mode or ("reference" if named else "many")
    if mode != "reference" and named:
        raise SettingInvalid(
            f"--faces {mode} with {'--reference' if references else '--reference-frame-number'}",
            "--faces reference",
            "leave --faces out: naming somebody is enough",
        )
    if references and reference.frame_number is not None:
        raise SettingInvalid(
            "--reference with --reference-frame-number",
            "a picture of the person, or a frame that shows them",
            "leave one of them out",
        )
    ages = None
    if selector.age_start is not None or selector.age_end is not None:
        ages = (selector.age_start or 0, 100 if selector.age_end is None else selector.age_end)
        if ages[0] > ages[1]:
            raise SettingInvalid(
                f"ages from {ages[0]} to {ages[1]}",
                "a first age that is not above the last",
                "correct --face-selector-age-start or --face-selector-age-end",
            )
    frame = None
    if mode == "reference" and not references:
        frame = reference.frame_number or 0
    distance = reference.distance
    if reference.face_distance is not None:
        distance = SPACES[recognizer(settings)].euclidean(reference.face_distance)
    return FaceChoice(
        mode=mode,
        order=selector.order,
        references=tuple(references),
        reference_frame=frame,
        reference_position=reference.face_position,
        ages=ages,
        gender=selector.gender,
        race=selector.race,
        distance=distance,
    )


def swap_settings(
    settings: Settings,
    *,
    sources: Sequence[str] = (),
    cast: tuple[Role, ...] = (),
    source_face: int | None = None,
) -> SwapSettings:
    """What is put on the faces."""
    swapper, enhancer, mask = settings.face_swapper, settings.face_enhancer, settings.face_mask
    return SwapSettings(
        model=swapper.model,
        sources=tuple(sources),
        cast=cast,
        source_face=source_face,
        crop_size=swapper.crop_size,
        weight=swapper.weight,
        boost=swapper.pixel_boost,
        precision=swapper.precision,
        masks=MaskSettings(
            types=mask.types,
            areas=mask.areas,
            regions=mask.regions,
            blur=mask.blur,
            padding=mask.padding,
            occluder=settings.face_occluder.model,
            parser=settings.face_parser.model,
        ),
        enhancer=EnhancerSettings(
            model=enhancer.model,
            blend=enhancer.blend / 100,
            weight=enhancer.weight,
            precision=enhancer.precision,
        ),
    )


def cut_settings(settings: Settings) -> CutSettings:
    """Which frames the result shows.

    Raises:
        SettingInvalid: a trim without frames.
    """
    start, stop = settings.trim_frame.start or 0, settings.trim_frame.end
    if stop is not None and stop <= start:
        raise SettingInvalid(
            f"a trim from frame {start} to before frame {stop}",
            "at least one frame",
            "correct --trim-frame-start or --trim-frame-end",
        )
    return CutSettings(start=start, stop=stop, rate=settings.output_video.fps)


def sound_settings(settings: Settings) -> SoundSettings:
    """What becomes of the sound."""
    audio = settings.output_audio
    return SoundSettings(encoder=audio.encoder, quality=audio.quality, volume=audio.volume)


def image_settings(settings: Settings) -> ImageSettings:
    """The result of a picture."""
    return ImageSettings(quality=settings.output_image.quality, scale=settings.output_image.scale)


def is_still(path: Path) -> bool:
    """Whether a file's name says that it is one picture."""
    return path.suffix.lower() in STILLS
