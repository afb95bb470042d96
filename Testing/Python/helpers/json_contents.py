"""One valid content of every JSON format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.measure.calibration import Calibration
from spinemamba.measure.follow_up.record import Change, FollowUp, Match
from spinemamba.network.config import COARSE
from spinemamba.network.level_sequence import LevelNetworkConfig
from spinemamba.protocol.case_source import CaseSource, Located
from spinemamba.protocol.cohort import (
    CaseFile,
    CaseRecord,
    CaseReview,
    CaseSummary,
    Fingerprint,
)
from spinemamba.protocol.events import Progress
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.job import ResegmentJob
from spinemamba.protocol.left_out import LOOSE, LeftOutBone
from spinemamba.protocol.manifest import FileEntry, Manifest, Origin, VertebraEntry
from spinemamba.protocol.measurements import Item, Measurements, Plate
from spinemamba.protocol.model_card import ModelCard, NetworkCard
from spinemamba.protocol.planning.plan import Corridor, Pedicle, Plan, PlanFile
from spinemamba.protocol.planning.screws import Screw, ScrewTable
from spinemamba.protocol.remote.formats import (
    Capabilities,
    JobFailure,
    JobState,
    RefusedRequest,
    ResultFile,
    SegmentRequest,
    SentFile,
)
from spinemamba.protocol.remote.server_info import ServerDevice, ServerModel
from spinemamba.protocol.result import RESULT as RESULT_FORMAT
from spinemamba.protocol.result import InstanceResult, LabelingResult, LevelsFrom, Result, Witnesses
from spinemamba.protocol.review import Decision, LogEntry, LoggedChange, Renamed, Review, Triage
from spinemamba.protocol.vertebra_result import VertebraResult
from spinemamba.server.settings import LIMITS
from spinemamba.server.tokens import TokenEntry, TokenList
from spinemamba.training.data.case_store import CaseIndex, IndexEntry
from spinemamba.training.data.data_list import ListedCase, Sections, ShapeDonor
from spinemamba.training.data.origin import Source
from spinemamba.training.folder import TrainingRecord
from spinemamba.training.levels.folder import LevelTrainingRecord
from spinemamba.training.recipe import recipe_of

POINT = (1.0, -2.0, 3.5)
SHA = "0" * 64
PLATE = Plate(*(POINT,) * 6)

RESULT = Result(
    run_id="r",
    model_name="m",
    model_version="1",
    model_hash="h",
    package_version="0",
    device="cpu",
    scan_backend="torch-chunked",
    modality="ct",
    seconds={"read": 1.5},
    shape=(3, 4, 5),
    spacing_mm=(1.0, 1.0, 2.0),
    origin_lps_mm=POINT,
    direction_lps=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    instances=(
        InstanceResult(
            id=1,
            label=20,
            name="L1",
            posterior=0.9,
            alternatives=(("T12", 0.1),),
            level_probabilities=(0.5, 0.5),
            centroid_lps_mm=POINT,
            volume_ml=33.0,
            complete=False,
            cut_sides=("left",),
            flags=(Flag("volume_outlier", 0.4, "Small."), Flag("cut_by_image", None, "Cut.")),
            no_vertebra=0.1,
            witnesses=Witnesses(0.9, 0.8, 0.1, 0.7, 0.0),
        ),
    ),
    labelings=(LabelingResult(("L1",), 0.9), LabelingResult((None,), 0.1)),
    ambiguous=True,
    warnings=("Look.",),
    fixed_levels=((1, "L1"),),
    left_out=(LeftOutBone(1, LOOSE, 2, 0.05, (3, 2, 9, 1)),),
    level_doubt="check_level",
    deciding=("Count ribs.",),
    levels_from=LevelsFrom(
        source="old.nii.gz",
        method="shape",
        status="found",
        fixed=False,
        offset=3,
        score_mm=1.1,
        levels=((1, "L1"),),
        second_levels=((1, "T12"),),
        second_score_mm=None,
    ),
    frame_of_reference=SHA,
    sequence="gradient echo",
)
VERTEBRA = VertebraEntry(
    level="L1",
    segment_id="V20",
    files=(FileEntry("a.stl", "stl", "mm", 84, SHA),),
    reviewed=True,
    reviewed_by="",
    exported_utc="2026-01-01T00:00:00+00:00",
    exported_with="SpineMamba Segment 0",
    coordinate_system="LPS",
    frame="image",
    voxels=9,
    label_volume_ml=1.0,
    mesh_volume_ml=1.0,
    deviation_mean_mm=0.1,
    deviation_p95_mm=0.2,
    deviation_max_mm=0.3,
    triangles=4,
    watertight=True,
    euler_number=2,
    bodies=1,
    cavities=0,
    tunnels=0,
    self_intersections=0,
    smoothing={"method": "taubin", "passes": 20},
    decimation=0.0,
    findings=("Thin.",),
    origin=Origin("m", "1", "h", "0", "r"),
)
SCREW = Corridor("suggested", POINT, POINT, 6.5, 40.0, 0.0, "", "A", 0.0, 0.7, None, 9.0, -2.0)
SCREWS = ScrewTable((Screw("lumbar", 6.5, 40.0),))
NETWORK = NetworkCard("w.safetensors", SHA, 4.0, {"patch_vox": [8, 8, 8]}, {"steps": 3}, 0.6)

CONTENTS: dict[str, Any] = {
    "case_index": CaseIndex(
        1.5, 3, (IndexEntry("a", SHA, 9, 10**18, "user:0", "user", "", 1.0, (20, 21)),)
    ),
    "case": CaseRecord(
        case="a",
        input="a.nii.gz",
        fingerprint=Fingerprint(SHA, SHA, SHA),
        input_stamp="s",
        state="done",
        attempts=1,
        seconds=3.5,
        memory_mb=900.0,
        summary=CaseSummary.of(RESULT),
        files={"labels": CaseFile("a.seg.nrrd", 84)},
        warnings=("Look.",),
        image="/in/a.nii.gz",
        review=CaseReview("approved", "A", "2026-01-01T00:00:00Z", "Fine.", SHA),
    ),
    "event": Progress("segment", 0.5, 0.4),
    "job": ResegmentJob(
        Path("i.nrrd"),
        Path("o.nrrd"),
        labels=Path("l.nrrd"),
        point_lps_mm=POINT,
        locked_labels=(3,),
    ),
    "data_list": Sections(
        sources={"one": Source("One", "CC BY 4.0", "A et al.")},
        training=(
            ListedCase("a", "one", "a_ct.nii.gz", "a_seg.nii.gz"),
            ListedCase(
                "b",
                "one",
                "b_ct.nii.gz",
                "b_seg.nii.gz",
                structures="b_structures.nii.gz",
                known_above_hu=200.0,
            ),
            ListedCase(
                "c", "one", "c_ct.nii.gz", "c_seg.nii.gz", structures="c.nii.gz", other_bones=(3, 4)
            ),
        ),
        testing=(ListedCase("t", "one", "t.nii.gz", modality="MR"),),
        vertebra_shapes=(ShapeDonor("a", "L1", "L3"),),
    ),
    "level_network": LevelNetworkConfig(layers=1, reader_layers=1),
    "level_training": LevelTrainingRecord(LevelNetworkConfig(), {}, ("VerSe.",)),
    "manifest": Manifest(
        case="a",
        vertebrae=(VERTEBRA,),
        left_out=(("L2", "It is cut."),),
        unreviewed_accepted=True,
        source=CaseSource(SHA, {"L1": Located(POINT, 33.0)}),
    ),
    "measurements": Measurements(
        package_version="0",
        labels_sha256=SHA,
        spacing_mm=(1.0, 1.0, 2.0),
        modality="ct",
        items=(
            Item(
                kind="vertebra",
                name="L1",
                values={"volume_ml": 33.0, "wedge_deg": None},
                reasons={"wedge_deg": "It is cut."},
                plates={"superior": PLATE},
                centre_lps_mm=POINT,
                axes_lps=(POINT, POINT, POINT),
                uncertainties={"volume_ml": 1.5},
            ),
        ),
        notes=("Coarse voxels.",),
    ),
    "follow_up": FollowUp(
        "0",
        1,
        (Change("vertebra", "L1", "", "volume_ml", "mL", 33.0, 30.0, -3.0, 2.5, True),),
        (Match("L1", "T12", 0.5, 1.0, 2.0, (POINT,) * 3, POINT),),
        ("Check.",),
        ("Position.",),
    ),
    "calibration": Calibration(0.8, 5.0, 3.0, "phantom"),
    "model": ModelCard(
        name="m",
        version="1",
        networks={"coarse": NETWORK, "fine": NETWORK},
        labels=NETWORK_LEVELS,
        normalisation={"ct": 1},
        data=("VerSe.",),
        licence="CC0-1.0",
        results={"case": {"dice": 0.9}},
        intended_use="Tests.",
    ),
    "network": COARSE,
    "plan": Plan(
        package_version="0",
        labels_sha256=SHA,
        spacing_mm=(1.0, 1.0, 2.0),
        modality="ct",
        pedicles=(
            Pedicle(
                "L4",
                "left",
                entry_lps_mm=POINT,
                isthmus_lps_mm=POINT,
                width_mm=12.5,
                suggestion=SCREW,
                screws=(SCREW,),
                reasons={"inner_width_mm": "no CT"},
            ),
        ),
        files=(PlanFile("a.stl", "guide", SHA, True, "Not for use in patients."),),
        screw_table=SCREWS,
    ),
    "recipe": recipe_of("coarse"),
    "result": RESULT,
    "review": Review(
        result=json.loads(RESULT_FORMAT.to_text(RESULT)),
        fixed_levels={"V20": "L1"},
        log=(
            LogEntry(
                "2026-01-01T00:00:00+00:00", "Delete", "", (LoggedChange("V20", level_before="L1"),)
            ),
        ),
    ),
    "server_capabilities": Capabilities(
        server="Ward",
        client="ct-room-2",
        version="0.1.0",
        kinds=("segment",),
        models=(ServerModel("starter", "starter", "0.7", "h"),),
        devices=(ServerDevice("cuda:0", "GPU"),),
        limits=LIMITS,
        image_endings=(".nrrd",),
        queued=2,
        running=1,
    ),
    "server_job": JobState(
        id="0" * 32,
        kind="segment",
        state="failed",
        stage="segment",
        fraction=0.5,
        overall=0.4,
        remaining_s=3.0,
        warnings=("Look.",),
        failure=JobFailure("NO_SPINE", "No vertebra found.", "Choose another volume."),
        files=(ResultFile("labels", ".seg.nrrd", 5, SHA),),
        device="cuda:0",
        expires_s=60.0,
    ),
    "server_refusal": RefusedRequest("BUSY", "The line is full.", "Try again later.", 30.0),
    "server_request": SegmentRequest(
        files=(SentFile("image", ".nrrd", 5, SHA),), request_id="1" * 32, fixed_levels=("L5#1",)
    ),
    "server_tokens": TokenList((TokenEntry("ct-room-2", SHA, "2026-01-01"),)),
    "screws": SCREWS,
    "triage": Triage(
        "A",
        (
            Decision(
                "a", "r", SHA, "approved", (Renamed(1, "L1", "T12"),), "", "2026-01-01T00:00:00Z"
            ),
        ),
    ),
    "training": TrainingRecord(COARSE, {"kind": "spinemamba"}, sources=("VerSe.",)),
    "vertebra_result": VertebraResult(
        replaced_label=0,
        point_lps_mm=POINT,
        centroid_lps_mm=POINT,
        volume_ml=33.0,
        level_probabilities=(0.5, 0.5),
        cut_sides=("left",),
        dice_before=None,
        seeded=False,
        model_name="m",
        model_version="1",
        model_hash="h",
        package_version="0",
        device="cpu",
        modality="ct",
    ),
}
"""Content by the name of the format, as in `json_schemas.FORMATS`."""
