"""bench/simulate.py: plans whose times can be worked out by hand."""

import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tools"))
sys.path.insert(0, os.path.join(ROOT, "bench"))
import counted
import simulate
from simulate import Group


class Replays(unittest.TestCase):
    def setUp(self):
        simulate.OVERHEAD_US = 0

    def test_tiles_spread_over_the_workers(self):
        groups = [Group(8, 1.0, 0, [1]), Group(0, 0, 0, [2]), Group(3, 2.0, 0, [])]
        for workers, want in ((1, 14), (2, 8), (8, 3), (100, 3)):
            seconds, why = simulate.simulate(groups, workers, 1, 10, 10)
            self.assertAlmostEqual(seconds, want)
            self.assertAlmostEqual(why["work"], 14)
            self.assertAlmostEqual(why["width"], workers * want - 14)

    def test_branches_run_side_by_side(self):
        groups = [Group(1, 1.0, 0, [1, 2]), Group(1, 2.0, 0, [3]), Group(1, 3.0, 0, [3]),
                  Group(1, 1.0, 0, [])]
        self.assertAlmostEqual(simulate.simulate(groups, 2, 1, 10, 10)[0], 5)
        self.assertAlmostEqual(simulate.longest_path(groups), 5)

    def test_finer_tiles_fill_the_workers(self):
        plan = {"groups": [{"tasks": [{"op": "a"}]}, {"tasks": [{"op": "b"}]}]}
        groups = [Group(2, 4.0, 6, [1]), Group(3, 1.0, 0, [])]
        self.assertEqual(simulate.finer(groups, plan, 4, "a"), [Group(4, 2.0, 3, [1]), groups[1]])
        cut = simulate.finer(groups, plan, 4)
        self.assertEqual([g.tiles for g in cut], [4, 6])
        self.assertAlmostEqual(simulate.simulate(cut, 6, 1, 10, 10)[0], 2.5)

    def test_tiles_share_a_domain_s_memory(self):
        groups = [Group(4, 1.0, 10e9, [])]  # each tile alone keeps a core's 10 GB/s busy
        one, why = simulate.simulate(groups, 4, 1, 10, 10)
        self.assertAlmostEqual(one, 4)  # the last to start finds four that ask
        self.assertGreater(why["bandwidth"], 0)
        self.assertAlmostEqual(simulate.simulate(groups, 4, 4, 10, 10)[0], 1)


if __name__ == "__main__":
    counted.main()
