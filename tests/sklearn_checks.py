"""scikit-learn's checks, also those that `parametrize_with_checks` leaves out."""

from inspect import signature

from sklearn.utils import estimator_checks as checks

NOT_GENERATED = [
    checks.check_transformer_get_feature_names_out,
    checks.check_transformer_get_feature_names_out_pandas,
    checks.check_get_feature_names_out_error,
    checks.check_set_output_transform,
    checks.check_set_output_transform_pandas,
    checks.check_set_output_transform_polars,
    checks.check_global_output_transform_pandas,
    checks.check_global_set_output_transform_polars,
    checks.check_dataframe_column_names_consistency,
    checks.check_param_validation,
    checks.check_inplace_ensure_writeable,
]


def scikit_learn_checks(estimators):
    """Mark a test of (estimator, check) to run scikit-learn's checks; none is expected to fail."""
    strict = {"xfail_strict": True} if "xfail_strict" in signature(checks.parametrize_with_checks).parameters else {}
    return checks.parametrize_with_checks(estimators, expected_failed_checks=lambda estimator: {}, **strict)
