"""A node whose tiers can be made to fail, late and wrong, and be well again, while it runs (docs/test-faults.md)."""
import os
import signal

import harness

TIERS = ("dram", "ssd", "redis")


class FaultyNode(harness.Node):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.settings["config"] = os.path.join(self.folder, "node.yaml")
        self.changes = 0
        self.write_rules()

    def write_rules(self, ssd="off", redis="off", dram="off"):
        """For the next start."""
        with open(self.settings["config"], "w") as file:
            for tier, rules in zip(TIERS, (dram, ssd, redis)):
                file.write(f'{tier}:\n  test_fault: "{rules}"\n')

    def start(self, *arguments):
        super().start(*arguments)
        self.changes = 1
        return self

    def rules(self, ssd="off", redis="off", dram="off"):
        """From now on these hold, for the tiers that the node has. Returns whether they do."""
        self.write_rules(ssd, redis, dram)
        self.signal(signal.SIGHUP)
        self.changes += 1
        name = 'kvasir_test_fault_changes_total{tier="%s"}'
        return harness.until(lambda: {self.metric(name % tier) for tier in TIERS} <= {self.changes, None}, 120)

    def held(self):
        """Operations that the faults keep now."""
        return sum(self.metric(f'kvasir_test_fault_operations{{tier="{tier}"}}') or 0 for tier in TIERS)

    def none_held(self):
        return harness.until(lambda: self.held() == 0, 120)

    def faults(self, tier, kind):
        """How many operations it happened to since the start."""
        return self.metric(f'kvasir_test_faults_total{{tier="{tier}",kind="{kind}"}}') or 0
