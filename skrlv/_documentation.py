"""Links from the HTML representation of an estimator to its page in the documentation."""

DOCUMENTATION = "https://skrlv.readthedocs.io/en/stable"


def documented(estimator_class):
    """Let the class and its subclasses in this library link to their pages: a class decorator."""
    estimator_class._doc_link_module = "skrlv"
    estimator_class._doc_link_template = DOCUMENTATION + "/generated/{path}.html"
    estimator_class._doc_link_url_param_generator = _path
    return estimator_class


def _path(estimator):
    import skrlv

    name, folders = type(estimator).__name__, type(estimator).__module__.split(".")
    home = "skrlv" if hasattr(skrlv, name) else ".".join(folders[:2])
    return {"path": f"{home}.{name}"}
