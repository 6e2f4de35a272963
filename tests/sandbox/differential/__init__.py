"""Proof that the twin decides as the real autoscaler does.

Real: etcd, the API server, and a controller manager that runs the HorizontalPodAutoscaler controller and nothing else.
Played by the test: Deployments' status, pods, and the three metrics APIs. A gate before the API server holds each sync
of the real controller until its inputs are in place; afterwards the same inputs, at the time at which the controller
looked at its clock, go to the twin. At every sync the two must agree on the replicas, on what the metrics asked for
before windows and paces, and on the conditions that the controller wrote.

The autoscalers are those that both stacks render (prod's through what KEDA makes of its ScaledObjects). Windows and
periods are divided by 15, except in the traces of the true clock; traces of single branches change one thing more.
"""
