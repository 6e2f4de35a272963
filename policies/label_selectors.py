"""Label selectors as Kubernetes evaluates them, with a third answer for values that are not known yet."""

from policies.values import UNKNOWN, Unknown, elements, fields, read

Match = bool | Unknown


def _all_of(answers: list[Match]) -> Match:
    if any(answer is False for answer in answers):
        return False
    return UNKNOWN if any(answer is UNKNOWN for answer in answers) else True


def matches_labels(wanted: object, labels: object) -> Match:
    """Tell whether every wanted label is present with its value."""
    if wanted is UNKNOWN or labels is UNKNOWN:
        return UNKNOWN
    present = fields(labels)
    answers: list[Match] = []
    for key, value in fields(wanted).items():
        if key not in present:
            answers.append(False)
        elif value is UNKNOWN or present[key] is UNKNOWN:
            answers.append(UNKNOWN)
        else:
            answers.append(present[key] == value)
    return _all_of(answers)


def _matches_expression(expression: object, labels: dict[str, object]) -> Match:
    key, operator = read(expression, "key"), read(expression, "operator")
    values = elements(read(expression, "values"))
    if expression is UNKNOWN or not isinstance(key, str) or not isinstance(operator, str) or UNKNOWN in values:
        return UNKNOWN
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    value = labels.get(key)
    if value is UNKNOWN:
        return UNKNOWN
    if operator == "In":
        return key in labels and value in values
    return key not in labels or value not in values


def selects(selector: object, labels: object) -> Match:
    """Tell whether a LabelSelector selects an object with these labels. An empty one selects everything."""
    if selector is UNKNOWN or labels is UNKNOWN:
        return UNKNOWN
    present = fields(labels)
    answers = [matches_labels(read(selector, "matchLabels"), labels)]
    answers += [_matches_expression(part, present) for part in elements(read(selector, "matchExpressions"))]
    return _all_of(answers)


def is_empty(selector: object) -> bool:
    """Tell whether the selector is known and has no term, that is: selects everything."""
    if selector is UNKNOWN or UNKNOWN in (read(selector, "matchLabels"), read(selector, "matchExpressions")):
        return False
    return not fields(read(selector, "matchLabels")) and not elements(read(selector, "matchExpressions"))
