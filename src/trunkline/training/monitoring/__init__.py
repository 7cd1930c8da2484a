"""What is seen of a training while it runs: looks at every task, alarms, and the first number that is not finite."""
