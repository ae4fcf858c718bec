"""Faults that are known and not mended yet: their tests are expected to fail, and fail the run once they pass.

Mend one, and take its line out.
"""

import pytest

OPEN = {
    "test_faults.py": [
        "test_a_signal_without_its_axis_of_samples_is_told_of_that_axis",
        "test_a_step_on_a_list_of_signals_is_done_or_not_done",
        "test_a_warm_start_keeps_the_statistics[ConvSparseAutoencoder]",
        "test_a_warm_start_keeps_the_statistics[ConvSparseCoder]",
        "test_a_warm_start_keeps_the_statistics[PredictiveSparseDecomposition]",
        "test_an_interrupt_in_the_first_pass_counts_what_was_learned",
        "test_channels_that_stand_before_time_are_not_taken_for_positions_in_silence",
        "test_codes_that_have_collapsed_are_told_of_whatever_the_batch",
        "test_the_energy_of_signals_without_channels_says_what_is_missing",
    ],
    "test_questions.py": [
        "test_a_tensor_that_requires_grad_is_taken_or_the_error_names_detach[LocalContrastNormalizer",
        "test_bfloat16_is_widened_to_float32[LocalContrastNormalizer",
        "test_wrong_data_are_refused[fit-no columns-LocalContrastNormalizer",
        "test_wrong_data_are_refused[transform-no columns-LocalContrastNormalizer",
    ],
}


def mark(items):
    """Expect the tests of open faults to fail."""
    for item in items:
        if any(item.name.startswith(name) for name in OPEN.get(item.path.name, ())):
            item.add_marker(pytest.mark.xfail(reason="a known fault, not mended yet", strict=True))
