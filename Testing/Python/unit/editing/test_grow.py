"""Growing labels into a mask."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from spinemamba.imaging.masks import grow_labels


@pytest.mark.parametrize("reach_vox", [1, 2, 3])
def test_grown_labels_equal_those_of_a_distance_transform(reach_vox: int):
    random = np.random.default_rng(reach_vox)
    labels = np.zeros((12, 9, 11), np.int32)
    places = tuple(random.integers(0, n, 30) for n in labels.shape)
    labels[places] = random.integers(1, 5, 30)
    labels[4:8, 2:5, 0:3] = 5  # a solid one at the rim
    grown = grow_labels(labels, reach_vox)
    away = [ndimage.distance_transform_edt(labels != value) for value in range(1, 6)]
    nearest = np.min(away, axis=0)
    np.testing.assert_array_equal(grown > 0, nearest <= reach_vox)
    np.testing.assert_array_equal(grown[labels > 0], labels[labels > 0])
    for value, distance in enumerate(away, start=1):
        assert (distance[grown == value] == nearest[grown == value]).all()
    assert grown.dtype == labels.dtype
