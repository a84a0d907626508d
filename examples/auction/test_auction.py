"""Tests of the auction: `pytest`, and `pytest --byzantine`."""

import pytest

from tetrarch import Rejected


def bid(amount):
    return {"op": "bid", "thing": "clock", "amount": amount}


def test_the_highest_bid_wins(network, client):
    client.submit({"op": "offer", "thing": "clock", "least": 10})
    ann, bob = network.client(), network.client()
    assert ann.submit(bid(9)).result.code == "failed"
    for bidder, amount in ((ann, 10), (bob, 12), (ann, 15)):
        assert bidder.submit(bid(amount)).value is True
    assert bob.submit(bid(15)).result.reason == "another bid is as high"
    sold = client.submit({"op": "close", "thing": "clock"})
    assert sold.value["amount"] == 15
    assert client.query({"thing": "clock"}, min_height=sold.height).value["open"] is False


def test_a_bid_is_counted_once_however_often_it_is_sent(client):
    client.submit({"op": "offer", "thing": "clock", "least": 10})
    first = client.submit(bid(10), idempotency_key="my bid")
    assert client.submit(bid(10), idempotency_key="my bid").tx_id == first.tx_id


def test_bids_outlive_a_replica(network, client, faults):
    client.submit({"op": "offer", "thing": "clock", "least": 10})
    faults.crash(network.liars[0] if network.liars else 2)  # f are faulty, not f and one more
    assert client.submit(bid(20)).value is True
    faults.run(1_000)
    assert client.get("lot/clock", min_height=2).value["amount"] == 20


def test_nonsense_is_refused_by_all(client):
    with pytest.raises(Rejected):
        client.submit({"op": "steal", "thing": "clock"})
