"""The state of one relay process, in parts of one concern each; handlers get all of it.

It knows frames and ports; it does not know sockets, files or time of its own.
"""

import base64
from collections.abc import Callable
from functools import partial
from typing import Final

from phantom_messenger.events import report
from phantom_messenger.relay.admission import Admission
from phantom_messenger.relay.arrivals import Arrivals
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.delivery_receipts import DeliveryReceipts
from phantom_messenger.relay.hub import Hub
from phantom_messenger.relay.load import LoadGauge
from phantom_messenger.relay.mailbox_push import MailboxPush
from phantom_messenger.relay.other_relays import OtherRelays
from phantom_messenger.relay.pipeline import AdmittedFrame, Pipeline, Steps
from phantom_messenger.relay.ports import Clock, Helpers, Randomness, RelayLink, Scheduler, Verification, Writer
from phantom_messenger.relay.presence_notices import PresenceNotices
from phantom_messenger.relay.replies import Replies
from phantom_messenger.relay.rules import State
from phantom_messenger.relay.session import Session

DAY_MS: Final = 86_400_000


class Core:
    """What a handler works with.

    Args:
        config: the frozen settings.
        clock: wall and monotonic time.
        randomness: for ids and challenges.
        schedule: runs an action in the next turn of the event loop.
        verify: checks signatures in batches.
        writer: runs commands durably.
        helpers: check signatures beside the core.
        handle: begins the handler of a frame: see ``handlers.handle``.
        link: leads to the other relays on the same store; None if there are none.
    """

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        randomness: Randomness,
        schedule: Scheduler,
        verify: Verification,
        writer: Writer,
        helpers: Helpers | None,
        handle: Callable[["Core", AdmittedFrame, bool | Exception], Steps],
        link: RelayLink | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self.randomness = randomness
        self.verify = verify
        self.names = frozenset(config.public_names)
        """What a login may be signed for, normal; ``ANY`` alone: whatever its handshake says."""
        self.hub = Hub()
        self.others = OtherRelays(link, schedule)
        self.arrivals = Arrivals()
        self.load = LoadGauge(clock.monotonic_ms)
        self.pipeline = Pipeline(
            verify=verify,
            helpers=helpers,
            writer=writer,
            schedule=schedule,
            handle=partial(handle, self),
            gauge=self.load,
            report=report,
        )
        self.admission = Admission(config, clock, randomness, self.load)
        self.replies = Replies(self.hub, clock, schedule, self.writable)
        self.mailboxes = MailboxPush(self.hub, self.replies, self.pipeline, clock, self.others)
        self.presence = PresenceNotices(self.hub, self.replies, self.pipeline, clock, self.others)
        self.receipts = DeliveryReceipts(
            mailboxes=self.mailboxes,
            replies=self.replies,
            pipeline=self.pipeline,
            quota=self.admission.quota,
            clock=clock,
            mail_life_ms=config.mail_days * DAY_MS,
        )

    def token(self, count: int) -> str:
        """Random bytes as base64 text."""
        return base64.b64encode(self.randomness(count)).decode()

    def writable(self, session: Session) -> None:
        """The client has taken something: read on in its mailbox; without acks, what it has taken is delivered."""
        if session.state is State.OPEN:
            self.mailboxes.catch_up(session)
            if session.unconfirmed and not session.outbox.level():
                self.receipts.confirm_written(session)
