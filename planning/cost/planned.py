"""What a capacity plan costs: the stack's bill with the plan's pods instead of its own."""

from planning.capacity.model import CapacityPlan
from planning.cost.bill import Bill


def planned_cost(plan: CapacityPlan, stack_bill: Bill) -> float:
    """Money for one month at the plan's pods and consumers; everything else as the stack declares it.

    A minimum that the plan needs at its peak is not what runs all day: this is the price of the peak held for a month.
    """
    counts = {
        figure.key.split("/")[1]: figure.needed
        for figure in plan.figures
        if figure.key.startswith(("pods/", "consumers/"))
    }
    total = 0.0
    for line in stack_bill.lines:
        each = line.maximum / line.most_pods if line.most_pods else line.maximum
        count = counts.get(line.name, float(line.fewest_pods)) if line.most_pods else 1.0
        total += each * count
    return total
