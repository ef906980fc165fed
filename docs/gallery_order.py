"""The order of the gallery: a story, not the alphabet."""

READING_ORDER = (
    "plot_phase_plane.py",
    "plot_mode_curves.py",
    "plot_learning_times.py",
    "plot_layer_balance.py",
    "plot_generalisation.py",
    "plot_euler_stability.py",
    "plot_wrong_sign.py",
    "plot_kfac_root.py",
    "plot_damping.py",
    "plot_digits_modes.py",
    "plot_forgetting.py",
    "plot_synapse_traces.py",
    "plot_mean_variance.py",
    "plot_release_probabilities.py",
    "plot_release_histogram.py",
    "plot_presynaptic_forgetting.py",
    "plot_forgetting_curves.py",
    "plot_engine_agreement.py",
    "plot_energy_accuracy.py",
    "plot_effective_landscapes.py",
    "plot_phase_diagram.py",
    "plot_pl_monitor.py",
    "plot_neurons_training.py",
    "plot_kfac_damping.py",
    "plot_alice_exponents.py",
    "plot_importance_bias.py",
    "plot_importance_correlations.py",
    "plot_bits_per_weight.py",
)


class ReadingOrder:
    """Sorts the scripts of the gallery; a script without a place is an error."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, filename: str) -> int:
        return READING_ORDER.index(filename)
