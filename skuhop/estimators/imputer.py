"""UHopImputer: tables with holes, completed by rows that have holes themselves."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skuhop.answering import (
    Imputation,
    answer_column,
    check_top,
    draw_columns,
    pose_queries,
    weigh_donors,
)
from skuhop.estimators.base import EstimatorMixin
from skuhop.estimators.parameters import IMPUTER_RULES
from skuhop.estimators.rows import IncompleteRowsMixin, check_row_ids
from skuhop.fitting import learn_imputation
from skuhop.support import (
    after_fit,
    all_or_nothing,
    check_parameters,
    check_weights,
    in_few_threads,
    parameter_rules,
    refuse_masked,
    resolve_device,
)
from skuhop.tables import (
    Coding,
    Coordinates,
    Fill,
    Table,
    as_table,
    decode_column,
    encode,
    find_library,
    hold_objects,
    learn_coding,
    resolve_categorical,
)


class UHopImputer(
    IncompleteRowsMixin,
    EstimatorMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Completes tables of numbers and categories by rows with holes of their own.

    What is missing is taken from donors, the stored rows that know the column, and
    moved along a line:

        x_mis = sum_i w_i (xi_i,mis + B (x_obs - xi_i,obs)).

    B are the conditional means of a Gaussian that EM fits to the incomplete rows,
    shrunk; the weights are those of Student's kernel, whose precisions are learned for
    every column by itself; the shares of line, donors and donors along the line in an
    answer are learned from entries that are hidden in turn. Nominal columns are filled
    with the most likely value. What is observed never moves, and neither columns nor
    rows need be of one unit.

    Read more in the user guide.

    Parameters
    ----------
    missing_values : int, float, str, NaN or None, default=np.nan
        What counts as missing besides NaN, None, pandas.NA and NaT, which always do.

    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        Which columns are nominal. "from_dtype": those of category dtype, of text, of
        booleans, and of objects that are not all numbers. None: no column. Otherwise
        a mask of bool of shape (n_features,), positions, or names.

    add_indicator : bool, default=False
        Whether a column of booleans is appended for every column in which something
        was missing in `fit`.

    keep_empty_features : bool, default=False
        Whether columns without any entry in `fit` are filled with 0 ("missing_value"
        where they are nominal) rather than left out.

    device : str, default="auto"
        As in `UHopMemory`, but for "mps", which has no float64.

    random_state : int, RandomState instance or None, default=None
        Seed of the folds and trees of `fit`.

    Attributes
    ----------
    is_categorical_ : ndarray of shape (n_features,), bool
        Which columns are nominal.

    categories_ : list of n_features ndarrays or None
        Values of the nominal columns; None for numbers.

    rows_ : ndarray of shape (n_rows, n_features)
        The distinct rows of positive weight, nominal columns as codes.

    multiplicity_ : ndarray of shape (n_rows,)
        Their weights.

    row_numbers_ : ndarray of shape (n_samples,), int
        Which of the distinct rows a row of `fit` is; -1 where its weight is 0.

    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the rows of `fit`.

    row_ids_ : ndarray of shape (n_samples,) or None
        Their names, if `fit` was given some.

    mean_ : ndarray of shape (n_coordinates,)
        Mean of the Gaussian in standardised coordinates: one for each number, one for
        each frequent value of a nominal column.

    covariance_ : ndarray of shape (n_coordinates, n_coordinates)
        Its covariance.

    precisions_ : ndarray of shape (n_features, n_coordinates)
        By which donors of a column are compared.

    shares_ : ndarray of shape (n_features, 4)
        Of the mean, the line, the donors, and the donors along the line in an answer.

    coordinates_ : dict of str to ndarray
        How columns become coordinates.

    spreads_, residuals_ : ndarray of shape (n_features,) and (n_features, n_quantiles)
        What hidden entries say of the errors of numbers.

    indicator_features_ : ndarray of shape (n_indicators,), int
        Columns with something missing in `fit`.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

    See Also
    --------
    sklearn.impute.KNNImputer : Neighbours by one distance for all columns.
    sklearn.impute.IterativeImputer : Regresses every column on the others, in turn.

    Notes
    -----
    What comes back is what went in, an array or a frame of pandas or polars, with the
    same dtypes and categories. Numbers of a column of integers are rounded.

    A value of a nominal column that `fit` has not met counts as missing. A row that has
    nothing at all gets the mean or the most frequent value of every column.

    Rows are compared in blocks of at most ``working_memory`` MiB
    (`sklearn.config_context`).

    References
    ----------
    Little and Rubin, "Statistical analysis with missing data", 2002, chapter 11: EM.
    Stekhoven and Bühlmann, "MissForest", Bioinformatics 28, 2012: trees for tables of
    mixed columns.

    Examples
    --------
    >>> import numpy as np
    >>> from skuhop import UHopImputer
    >>> X = np.array([[1, 2], [2, 4], [3, 6], [4, 8], [5, 10], [6, np.nan]])
    >>> imputer = UHopImputer(random_state=0).fit(X)
    >>> bool(9 < imputer.transform([[6, np.nan]])[0, 1] < 13)
    True

    Words are columns too:

    >>> rows = [["red", 1.0], ["red", 1.2], ["blue", 5.0], ["blue", None]] * 5
    >>> UHopImputer(random_state=0).fit(rows).transform([[None, 1.1]])
    array([['red', 1.1]], dtype=object)
    """

    _rules = IMPUTER_RULES
    _takes = ("allow_nan", "categorical", "string")

    def __init__(
        self,
        *,
        missing_values: Any = np.nan,
        categorical_features: Any = "from_dtype",
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.missing_values = missing_values
        self.categorical_features = categorical_features
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.device = device
        self.random_state = random_state

    @all_or_nothing
    @in_few_threads
    def fit(
        self,
        X: ArrayLike,
        y: object | None = None,
        sample_weight: ArrayLike | None = None,
        row_ids: ArrayLike | None = None,
    ) -> Self:
        """Learn from a table with holes.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows, with or without holes.

        y : None
            Ignored.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows: k is the same as k copies, 0 the same as none.

        row_ids : array-like of shape (n_samples,), default=None
            Names of the rows, by which they can be forgotten or asked.

        Returns
        -------
        self : UHopImputer
            The fitted imputer.

        Raises
        ------
        ValueError
            If a parameter is not allowed, or a number is infinite.
        """
        self._check_parameters()
        device = resolve_device(self.device)
        table = self._read_table(X, reset=True)
        names = getattr(self, "feature_names_in_", None)
        weights = check_weights(sample_weight, np.empty((table.n_rows, 1)))
        used = np.ones(table.n_rows, bool) if weights is None else weights > 0
        nominal = resolve_categorical(
            self.categorical_features, table, names, self.missing_values
        )
        coding = learn_coding(table, nominal, self.missing_values, used)
        codes = encode(table, coding)
        weights = np.ones(len(codes)) if weights is None else weights
        self.row_ids_ = check_row_ids(row_ids, len(codes))
        self.is_categorical_ = coding.nominal
        self.categories_ = coding.categories
        self._learn(codes, weights, device)
        return self

    def _learn(self, codes, weights, device):
        """Learn from numbers and codes."""
        used = weights > 0
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        learned = learn_imputation(
            codes[used],
            np.array([0 if v is None else len(v) for v in self.categories_]),
            weights[used],
            np.random.RandomState(seed),
            device,
        )
        self.coordinates_ = learned.coordinates._asdict()
        self.mean_, self.covariance_ = learned.mean, learned.covariance
        self.precisions_, self.shares_ = learned.precisions, learned.shares
        self.spreads_, self.residuals_ = learned.spreads, learned.residuals
        self.indicator_features_ = np.flatnonzero(np.isnan(codes[used]).any(axis=0))
        self._store(codes, weights)

    def _read_table(self, X, reset=False) -> Table:
        """Check names and shape of what is given."""
        if find_library(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            table = as_table(X)
            if not table.n_rows or not table.n_columns:
                raise ValueError(
                    f"Found array with {table.n_rows} sample(s) and {table.n_columns} "
                    "feature(s) while a minimum of 1 is required."
                )
            return table
        refuse_masked(X=X)
        X = hold_objects(X)
        X = validate_data(
            self, X, dtype=None, reset=reset, ensure_all_finite="allow-nan"
        )
        if X.dtype.kind == "b":
            X = X.astype(np.float64)
        return as_table(X)

    def _codes(self, X):
        """Table, coding, codes and what is missing in queries, and the device."""
        check_is_fitted(self)
        self._check_parameters()
        device = resolve_device(self.device)
        table = self._read_table(X)
        coding = Coding(self.is_categorical_, self.categories_, self.missing_values)
        return table, coding, encode(table, coding), device

    def _imputation(self):
        n_values = [0 if v is None else len(v) for v in self.categories_]
        return Imputation(
            self.rows_,
            self.multiplicity_,
            np.array(n_values),
            Coordinates(**self.coordinates_),
            self.mean_,
            self.covariance_,
            self.precisions_,
            self.shares_,
            self.spreads_,
            self.residuals_,
        )

    def _answers(self, codes, device, where=None):
        """Answer the columns that lack entries; with the queries beside the rows."""
        imputation = self._choose_donors(where)._imputation()
        asked = pose_queries(imputation, codes, device)
        known = set(asked.imputation.coordinates.columns.tolist())
        lacking = np.flatnonzero(np.isnan(codes).any(axis=0))
        answers = {
            column: answer_column(asked, column)
            for column in lacking.tolist()
            if column in known
        }
        return asked, answers

    def _fill(self, table, coding, codes, values):
        """Table with values, by column, in the place of what is missing."""
        missing, fills = np.isnan(codes), {}
        for column in np.flatnonzero(missing.any(axis=0)).tolist():
            rows = np.flatnonzero(missing[:, column])
            if column in values:
                numbers = values[column]
                fill = decode_column(numbers, column, table, coding)
            else:
                empty = "missing_value" if coding.nominal[column] else 0
                fill = np.full(len(rows), empty, object)
            fills[column] = Fill(rows, fill)
        return self._arrange(table.fill(fills), missing)

    def _arrange(self, X, missing):
        """Leave out columns that had no entry, and append indicators, if wanted."""
        table = as_table(X)
        if not self.keep_empty_features:
            X = table.take(self._filled_features())
        if self.add_indicator:
            names = self._indicator_names(self._input_names())
            X = as_table(X).append(missing[:, self.indicator_features_], names)
        return X

    def _filled_features(self):
        """Columns that had an entry in `fit`."""
        return np.unique(self.coordinates_["columns"])

    @in_few_threads
    def transform(
        self, X: ArrayLike, return_std: bool = False, where: ArrayLike | None = None
    ):
        """Fill what is missing.

        Parameters
        ----------
        X : array-like or frame of shape (n_queries, n_features)
            Rows.

        return_std : bool, default=False
            Whether to return the expected errors.

        where : array-like, default=None
            Which rows of `fit` may be donors: a mask of shape (n_samples,), or their
            `row_ids`.

        Returns
        -------
        X_filled : array or frame of shape (n_queries, n_features_out)
            Of the kind of X. What was observed is as it was, to the bit.

        X_std : ndarray of shape (n_queries, n_features)
            Standard deviation of a number that was missing, probability that a value
            of a nominal column is wrong, 0 where observed; only if `return_std`.
        """
        table, coding, codes, device = self._codes(X)
        _, answers = self._answers(codes, device, where)
        values = {
            column: answer.values.argmax(axis=1)
            if coding.nominal[column]
            else answer.values
            for column, answer in answers.items()
        }
        filled = self._fill(table, coding, codes, values)
        if not return_std:
            return filled
        std = np.zeros(codes.shape)
        for column, answer in answers.items():
            std[answer.rows, column] = answer.std
        return filled, std

    @in_few_threads
    def impute_proba(
        self, X: ArrayLike, where: ArrayLike | None = None
    ) -> list[np.ndarray]:
        """Probabilities of the values of the nominal columns.

        Parameters
        ----------
        X : array-like or frame of shape (n_queries, n_features)
            Rows.

        where : array-like, default=None
            Which rows of `fit` may be donors: a mask of shape (n_samples,), or their
            `row_ids`.

        Returns
        -------
        probabilities : list of ndarray of shape (n_queries, n_categories)
            One for each nominal column, in the order of the columns and of
            `categories_`; of a value that is observed, 1.
        """
        _, coding, codes, device = self._codes(X)
        _, answers = self._answers(codes, device, where)
        out = []
        for column in np.flatnonzero(coding.nominal).tolist():
            n_values = len(coding.categories[column])
            known = ~np.isnan(codes[:, column])
            shares = np.zeros((len(codes), n_values))
            shares[known, codes[known, column].astype(int)] = 1
            if column in answers:
                shares[answers[column].rows] = answers[column].values
            out.append(shares)
        return out

    @in_few_threads
    def sample(
        self,
        X: ArrayLike,
        n_draws: int = 1,
        random_state: int | np.random.RandomState | None = None,
        where: ArrayLike | None = None,
    ) -> list:
        """Fill what is missing with draws: multiple imputation.

        What is observed is the same in all draws. Numbers vary as entries varied that
        were hidden in `fit` around what was expected of them; values of nominal columns
        by `impute_proba`. Numbers of a row are drawn together.

        Parameters
        ----------
        X : array-like or frame of shape (n_queries, n_features)
            Rows.

        n_draws : int, default=1
            How many tables to draw.

        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        where : array-like, default=None
            Which rows of `fit` may be donors: a mask of shape (n_samples,), or their
            `row_ids`.

        Returns
        -------
        tables : list of n_draws arrays or frames
            As from `transform`.
        """
        check_parameters(
            "sample", {"n_draws": n_draws}, {"n_draws": (parameter_rules.COUNT,)}
        )
        rng = check_random_state(random_state)
        table, coding, codes, device = self._codes(X)
        asked, answers = self._answers(codes, device, where)
        return [
            self._fill(table, coding, codes, draw_columns(asked, answers, rng))
            for _ in range(n_draws)
        ]

    @after_fit
    @in_few_threads
    def association(
        self,
        X: ArrayLike,
        feature: int | str,
        top: int | None = None,
        where: ArrayLike | None = None,
    ):
        """Weights of the rows of `fit` as donors of one feature.

        Parameters
        ----------
        X : array-like or frame of shape (n_queries, n_features)
            Rows; whether they have the feature does not matter.

        feature : int or str
            Position or name of the feature.

        top : int, default=None
            How many of the heaviest donors to return; None returns the weights of all.

        where : array-like, default=None
            Which rows of `fit` may be donors: a mask of shape (n_samples,), or their
            `row_ids`.

        Returns
        -------
        weights : ndarray of shape (n_queries, n_samples)
            Weights, which sum to one; 0 of rows without the feature. Only without
            `top`.

        indices, weights : ndarray of shape (n_queries, top)
            Positions in the rows of `fit`, heaviest first, and their weights.
        """
        column = self._position(feature)
        _, _, codes, device = self._codes(X)
        if column not in self._filled_features():
            raise ValueError(
                f"feature={feature!r} had no entry in fit: no row knows it."
            )
        codes = codes.copy()
        codes[:, column] = np.nan
        chosen = self._choose_donors(where)
        asked = pose_queries(chosen._imputation(), codes, device)
        numbers = chosen.row_numbers_
        distinct = weigh_donors(asked, column)
        # Copies of a row share what the row got.
        share = chosen.sample_weight_ / chosen.multiplicity_[numbers]
        weights = distinct[:, numbers] * np.where(numbers >= 0, share, 0)
        if top is None:
            return weights
        check_top(top, weights.shape[1])
        order = np.argsort(-weights, axis=1, kind="stable")[:, :top]
        return order, np.take_along_axis(weights, order, axis=1)

    def _position(self, feature):
        names = list(self._input_names())
        if isinstance(feature, str) and feature in names:
            return names.index(feature)
        if not isinstance(feature, str) and feature in range(self.n_features_in_):
            return int(feature)
        raise ValueError(
            f"feature must be in [0, {self.n_features_in_ - 1}] or one of {names}. Got "
            f"{feature!r}."
        )

    def inverse_transform(self, X: ArrayLike):
        """Take out again what was filled in, where indicators say so.

        Parameters
        ----------
        X : array-like or frame of shape (n_queries, n_features_out)
            What `transform` gave, with ``add_indicator=True``.

        Returns
        -------
        X_original : array or frame of shape (n_queries, n_features)
            With `missing_values` where the indicators are true, and in columns that had
            been left out.

        Raises
        ------
        ValueError
            If there are no indicators.
        """
        check_is_fitted(self)
        if not self.add_indicator:
            raise ValueError(
                "inverse_transform needs indicators: set add_indicator=True. Got "
                f"add_indicator={self.add_indicator!r}."
            )
        table = as_table(X)
        kept = (
            np.arange(self.n_features_in_)
            if self.keep_empty_features
            else self._filled_features()
        )
        n_out = len(kept) + len(self.indicator_features_)
        if table.n_columns != n_out:
            raise ValueError(
                f"X must have the {n_out} columns that transform gives. Got "
                f"{table.n_columns}."
            )
        missing = np.zeros((table.n_rows, self.n_features_in_), bool)
        for at, column in enumerate(self.indicator_features_):
            missing[:, column] = table.objects(len(kept) + at).astype(bool)
        return table.restore(kept, missing, self._input_names(), self.missing_values)

    def _input_names(self):
        return super().get_feature_names_out()

    def _indicator_names(self, names):
        return [f"missingindicator_{names[j]}" for j in self.indicator_features_]

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the columns that `transform` gives.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; None takes those seen in `fit`, or x0, x1, ...

        Returns
        -------
        names : ndarray of str objects
            Those of the columns, then those of the indicators.
        """
        check_is_fitted(self)
        names = super().get_feature_names_out(input_features)
        out = names if self.keep_empty_features else names[self._filled_features()]
        if self.add_indicator:
            out = np.concatenate([out, np.array(self._indicator_names(names), object)])
        return np.asarray(out, dtype=object)
