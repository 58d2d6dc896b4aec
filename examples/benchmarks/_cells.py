"""Data sets, corruptions and metric of the retrieval benchmark.

A cell is data set x number of stored patterns x corruption. Everything random in
a cell is seeded by its name, so that a cell's numbers do not depend on which
other cells are run beside it.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits

# ---- data


@dataclass(frozen=True)
class ImageSet:
    """Where a set of images comes from and how it is brought into [0, 1].

    Parameters
    ----------
    span : tuple of two floats
        Smallest and largest value in the file.
    max_size : int
        Most patterns the benchmark stores of this set.
    recipe : str
        Python lines that build the file with scikit-learn.
    """

    span: tuple
    max_size: int
    recipe: str


_OPENML = """\
import numpy
from sklearn.datasets import fetch_openml
X, _ = fetch_openml(data_id={data_id}, return_X_y=True, as_frame=False)
numpy.savez_compressed("{name}.npz", X=X{reshape})"""

#: name -> file; ``digits`` comes with scikit-learn.
SETS = {
    "digits": ImageSet((0, 16), 500, ""),
    "usps": ImageSet(
        (-1, 1),
        500,
        _OPENML.format(
            data_id=41082, name="usps", reshape=".reshape(-1, 16, 16).astype('float32')"
        ),
    ),
    "mnist": ImageSet(
        (0, 255),
        2000,
        _OPENML.format(
            data_id=554, name="mnist", reshape=".reshape(-1, 28, 28).astype('uint8')"
        ),
    ),
    "cifar10": ImageSet(
        (0, 255),
        500,
        _OPENML.format(
            data_id=40927,
            name="cifar10",
            reshape=".reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype('uint8')",
        ),
    ),
}


def load_patterns(name, data_dir, n_patterns, seed):
    """Draw patterns of a data set without replacement.

    Parameters
    ----------
    name : str
        Key of ``SETS``.
    data_dir : str or Path
        Folder of the ``.npz`` files.
    n_patterns : int
        How many to draw; smaller draws are prefixes of larger ones.
    seed : int
        Decides the draw.

    Returns
    -------
    patterns : ndarray of shape (n_patterns, n_features), float32
        Values in [0, 1].
    shape : tuple
        Image shape, ``(height, width)`` or ``(height, width, channels)``.

    Raises
    ------
    FileNotFoundError
        If the file is absent; the message says how to build it.
    """
    images = _read_images(name, Path(data_dir))
    rows = np.random.RandomState(seed).permutation(len(images))[:n_patterns]
    low, high = SETS[name].span
    chosen = (images[rows].astype(np.float32) - low) / (high - low)
    return chosen.reshape(len(chosen), -1), images.shape[1:]


def _read_images(name, data_dir):
    if name == "digits":
        return load_digits().images
    file = data_dir / f"{name}.npz"
    if not file.exists():
        raise FileNotFoundError(f"{file} is absent. To build it:\n{SETS[name].recipe}")
    with np.load(file) as archive:
        return archive["X"]


def cell_random_state(*key):
    """Seed a generator by the words that name its use.

    Parameters
    ----------
    *key : str or int
        What the numbers are for, the user's seed included.

    Returns
    -------
    random_state : RandomState
    """
    return np.random.RandomState(crc32("/".join(map(str, key)).encode()))


# ---- the six corruptions of the task


def _keep(X, random_state, probability=0.5):
    return random_state.uniform(size=X.shape) < probability


def half_mask(X, random_state):
    """Keep and double each pixel with probability one half, else zero."""
    return 2 * X * _keep(X, random_state)


def zero_mask(X, random_state):
    """Keep each pixel with probability one half, else zero."""
    return X * _keep(X, random_state)


def occlude(X, random_state=None):
    """Zero the second half of the flattened pixels."""
    corrupted = X.copy()
    corrupted[:, X.shape[1] // 2 :] = 0
    return corrupted


def folded_noise(X, random_state):
    """Add N(0, 0.5^2), take the absolute value, clip to [0, 1]."""
    return np.clip(np.abs(X + random_state.normal(0, 0.5, X.shape)), 0, 1)


def gaussian(X, random_state, sigma=1.0):
    """Add N(0, sigma^2)."""
    return X + random_state.normal(0, sigma, X.shape)


def mixed(X, random_state):
    """Mask 30 %, add N(0, 0.3^2) and one offset in [0, 0.3] per query."""
    noise = random_state.normal(0, 0.3, X.shape)
    return X * _keep(X, random_state, 0.7) + noise + _per_query(X, random_state, 0, 0.3)


def _per_query(X, random_state, low, high):
    return random_state.uniform(low, high, (len(X), 1))


#: name -> ``(X, random_state) -> X_corrupted``
CORRUPTIONS = {
    "half_mask": half_mask,
    "zero_mask": zero_mask,
    "occlude": occlude,
    "folded_noise": folded_noise,
    "gaussian": gaussian,
    "mixed": mixed,
}

# ---- outside corruptions: in nobody's bank of guesses
# Each takes images of shape (n, height, width, channels).


def _blocks(images, random_state):
    """Boolean mask of one rectangle per image, half as high and half as wide."""
    n, height, width, _ = images.shape
    top = random_state.randint(height - height // 2 + 1, size=(n, 1, 1, 1))
    left = random_state.randint(width - width // 2 + 1, size=(n, 1, 1, 1))
    rows = np.arange(height)[:, None, None]
    columns = np.arange(width)[:, None]
    return (
        (rows >= top)
        & (rows < top + height // 2)
        & (columns >= left)
        & (columns < left + width // 2)
    )


def block_black(images, random_state):
    """Blacken one block at a random position."""
    return np.where(_blocks(images, random_state), 0, images)


def block_gray(images, random_state):
    """Paint one block at a random position mid-gray."""
    return np.where(_blocks(images, random_state), 0.5, images)


def block_noise(images, random_state):
    """Fill one block at a random position with uniform noise."""
    noise = random_state.uniform(size=images.shape)
    return np.where(_blocks(images, random_state), noise, images)


def blur(images, random_state):
    """Blur by a Gaussian whose width is a twelfth of the image."""
    width = images.shape[1] / 12
    return ndimage.gaussian_filter(images, (0, width, width, 0))


def _draw(images, random_state, low, high):
    return random_state.uniform(low, high, (len(images), 1, 1, 1))


def gain(images, random_state):
    """Scale each image by a factor in [0.2, 1.5], with a little noise."""
    scaled = images * _draw(images, random_state, 0.2, 1.5)
    return scaled + random_state.normal(0, 0.1, images.shape)


def offset(images, random_state):
    """Shift the brightness by a number in [-0.6, 0.6], with a little noise."""
    shifted = images + _draw(images, random_state, -0.6, 0.6)
    return shifted + random_state.normal(0, 0.2, images.shape)


def gamma(images, random_state):
    """Raise to an exponent, log-uniform in [1/4, 4] per image."""
    return images ** np.exp2(_draw(images, random_state, -2, 2))


def speckle(images, random_state):
    """Multiply each pixel by 1 + N(0, 1)."""
    return images * (1 + random_state.normal(size=images.shape))


def poisson(images, random_state):
    """Count two photons at most on average per pixel (shot noise)."""
    return random_state.poisson(2 * np.clip(images, 0, 1)) / 2


def laplace(images, random_state):
    """Add Laplace noise of scale 0.5."""
    return images + random_state.laplace(0, 0.5, images.shape)


def student(images, random_state):
    """Add heavy-tailed noise: 0.3 times Student's t, two degrees of freedom."""
    return images + 0.3 * random_state.standard_t(2, images.shape)


def dead_rows(images, random_state):
    """Zero each row of the image with probability one half."""
    alive = random_state.uniform(size=(*images.shape[:2], 1, 1)) < 0.5
    return images * alive


def gradient(images, random_state):
    """Add a slope of light across the image, up to 1 from edge to edge."""
    slope = np.linspace(-0.5, 0.5, images.shape[2])[:, None]
    return images + slope * _draw(images, random_state, -1, 1)


def shift(images, random_state):
    """Move each image by one pixel, one of the four ways, filling with zero."""
    ways = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])
    moved = np.empty_like(images)
    for image, way, target in zip(
        images, ways[random_state.randint(4, size=len(images))], moved, strict=True
    ):
        target[:] = ndimage.shift(image, (*way, 0), order=0)
    return moved


def saturate(images, random_state):
    """Over-expose threefold and clip, with a little noise."""
    noise = random_state.normal(0, 0.3, images.shape)
    return np.clip(3 * images + noise, 0, 1)


def quantise(images, random_state):
    """Dither to black and white: a coin weighted by the pixel."""
    return (random_state.uniform(size=images.shape) < images).astype(images.dtype)


_OUTSIDE = {
    function.__name__: function
    for function in (
        block_black,
        block_gray,
        block_noise,
        blur,
        gain,
        offset,
        gamma,
        speckle,
        poisson,
        laplace,
        student,
        dead_rows,
        gradient,
        shift,
        saturate,
        quantise,
    )
}


def _on_images(X, random_state, *, function, shape):
    channels = shape[2] if len(shape) == 3 else 1
    images = np.asarray(X).reshape(len(X), *shape[:2], channels)
    return function(images, random_state).reshape(len(X), -1)


def corruption_table(group, shape):
    """Return the corruptions of one group for images of one shape.

    Parameters
    ----------
    group : {"inside", "outside", "all"} or a name
        The six of the task, those outside any bank, both, or a single one.
    shape : tuple
        ``(height, width)`` or ``(height, width, channels)``.

    Returns
    -------
    table : dict
        Name -> ``(X, random_state) -> X_corrupted``; a picklable callable.
    """
    outside = {
        name: partial(_on_images, function=function, shape=shape)
        for name, function in _OUTSIDE.items()
    }
    groups = {
        "inside": CORRUPTIONS,
        "outside": outside,
        "all": CORRUPTIONS | outside,
    }
    return groups.get(group) or {group: groups["all"][group]}


#: What ``--corruptions`` accepts.
CORRUPTION_CHOICES = ("inside", "outside", "all", *CORRUPTIONS, *_OUTSIDE)


def corrupt(corruption, X, random_state):
    """Apply a corruption and return float32."""
    return np.asarray(corruption(X, random_state), dtype=np.float32)


# ---- metric


def squared_error(retrieved, patterns):
    """Sum of squared differences after clipping both to [0, 1], mean over rows.

    Parameters
    ----------
    retrieved, patterns : ndarray of shape (n, n_features)

    Returns
    -------
    error : float
    """
    difference = np.clip(retrieved, 0, 1) - np.clip(patterns, 0, 1)
    return float(np.einsum("ij,ij->i", difference, difference).mean())


def mean_pattern_error(patterns):
    """Error of answering every query with the mean pattern."""
    answer = np.broadcast_to(patterns.mean(axis=0), patterns.shape)
    return squared_error(answer, patterns)


def distinct_labels(patterns):
    """Give each pattern a number that its exact duplicates share."""
    return np.unique(patterns, axis=0, return_inverse=True)[1].ravel()


def hit_rate(indices, labels):
    """Share of queries whose most associated pattern is the right one.

    Parameters
    ----------
    indices : ndarray of shape (M,)
        Query i was made from pattern i; ``indices[i]`` is what it brought back.
    labels : ndarray of shape (M,)
        From `distinct_labels`: a duplicate of the right pattern is a hit.

    Returns
    -------
    rate : float
    """
    return float((labels[np.asarray(indices)] == labels).mean())
