"""How long a text stays in a group whose texts expire, whatever its writer's program says."""

import pytest
from client_samples import Device, Town, pass_time, settle
from group_people import group_of, known, said

from phantom_messenger.client.groups.contents import GroupText
from support.simulated import MINUTE, SECOND


def write_for(device: Device, to: Device, expires_in: int | None) -> None:
    """Write a text that is to expire after that, whatever the group's timer is."""
    chain, messenger = known(device).chain, device.messenger
    text = GroupText(group=chain.state.group, revision=chain.state.revision, head=chain.head, n=1, body="hello")
    messenger.groups._speaking.say(chain.state.group, [to.id], text, messenger._now(), expires_in=expires_in)
    settle(device, to)


def there(device: Device) -> list[str]:
    """The texts that have not expired."""
    return [text for text in said(device) if text is not None]


@pytest.mark.parametrize(
    ("timer", "expires_in", "after"),
    [
        (MINUTE, None, MINUTE),
        (MINUTE, 10 * MINUTE, MINUTE),
        (10 * MINUTE, MINUTE, MINUTE),
        (0, MINUTE, MINUTE),
        (0, None, None),
        (10 * MINUTE, None, 10 * MINUTE),
    ],
    ids=["none named", "more named", "less named", "no timer", "control: neither", "control: a longer timer"],
)
def test_text_stays_no_longer_than_the_timer_of_the_group(
    town: Town, timer: int, expires_in: int | None, after: int | None
) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    ada.messenger.groups.set_timer("Tea", timer)
    pass_time(10 * SECOND, ada, ben, cleo)
    write_for(cleo, ben, expires_in)
    assert there(ben) == ["hello"]
    pass_time(50 * SECOND, ada, ben, cleo, step=5 * SECOND)
    assert there(ben) == ["hello"]
    pass_time(20 * SECOND, ada, ben, cleo, step=5 * SECOND)
    assert there(ben) == ([] if after == MINUTE else ["hello"])
    pass_time(10 * MINUTE, ada, ben, cleo, step=30 * SECOND)
    assert there(ben) == (["hello"] if after is None else [])
