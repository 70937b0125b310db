"""Who decides between two replies: one judge a file, named in the table `JUDGES`.

In: calls, each a dialogue and two replies in the order in which they are shown. Out: a `Decision`
for each. One more judge is one more file and one more line here.
"""

from eval.judges.seam import Call, Decision, Judge, Opinion, compared
from eval.judges.table import JUDGES, open_judges

__all__ = [
    "JUDGES",
    "Call",
    "Decision",
    "Judge",
    "Opinion",
    "compared",
    "open_judges",
]
