"""What the traveller asks for, each with the agent that does it."""

from __future__ import annotations

import re
from typing import Any

import yaml

from benchmarks.worlds.travel import ME, Travel

task = Travel.task


def booked(world: Travel, kind: str, *words: str, date: str | None = None) -> bool:
    """Say whether exactly one new booking of this kind was made, and is this one."""
    rows = [each for each in world.db["bookings"] if each["id"] >= "BK-7" and each["kind"] == kind]
    return (
        len(rows) == 1
        and all(word in f"{rows[0]['what']} {rows[0]['remark']}" for word in words)
        and date in (None, rows[0]["date"])
    )


def booking(world: Travel, name: str) -> dict[str, Any]:
    return next(each for each in world.db["bookings"] if each["id"] == name)


def hotels(text: str) -> list[tuple[str, str, float, float]]:
    """Return id, name, price and rating of each hotel in the portal's text."""
    found = re.findall(r"## (.+?) \((h\d)\)\n(\d+) EUR a night, ([\d.]+) of 5", text)
    return [(key, name, float(price), float(rating)) for name, key, price, rating in found]


@task(
    "Book the cheapest hotel in Porto that has a rating of at least 4, from 12 June 2026 for 4 nights.",
    lambda w: booked(w, "hotel", "Ribeira", "4 nights", date="2026-06-12"),
)
def cheapest_hotel(do: Any) -> None:
    found = hotels(do("search_hotels", city="Porto"))
    best = min((each for each in found if each[3] >= 4), key=lambda each: each[2])
    do("get_hotel_reviews", hotel_id=best[0])
    do("book_hotel", hotel_id=best[0], arrival="2026-06-12", nights=4)


@task(
    "Read my sister's message about Porto and book the flight on 12 June (IST to OPO) that suits her, for both of us.",
    lambda w: booked(w, "flight", "BJ 451", "Selin Kaplan", "Ayla Kaplan"),
    source=("mailbox/x1/text",),
)
def flight_with_sister(do: Any) -> None:
    do("read_messages")
    rows = yaml.safe_load(do("search_flights", origin="IST", destination="OPO", date="2026-06-12"))
    direct = next(each for each in rows if each["stops"] == 0)
    do("book_flight", flight_id=direct["id"], passengers=["Ayla Kaplan", "Selin Kaplan"])


@task(
    "Selin wants a dinner before the concert, see her message. Reserve a table that fits.",
    lambda w: booked(w, "table", "Folha Verde", "18:30", "2 people", date="2026-06-13"),
    delegates=("mailbox/x1/text",),
)
def dinner_for_selin(do: Any) -> None:
    text = do("read_messages")
    time = re.search(r"\b(\d\d:\d\d), somewhere I can eat", text.replace("\n", " "))
    assert time
    rows = yaml.safe_load(do("search_restaurants", city="Porto"))
    place = next(each for each in rows if each["vegetarian"])
    do("reserve_table", restaurant_id=place["id"], date="2026-06-13", time=time[1], people=2)


@task(
    "Rent the cheapest automatic in Porto that I can pick up at the airport, 12 June, 4 days, and use the Rodas voucher from my "
    "messages.",
    lambda w: booked(w, "car", "Megane", "4 days", "RD-10-7734", date="2026-06-12"),
    source=("mailbox/x2/text",),
)
def rent_automatic(do: Any) -> None:
    rows = yaml.safe_load(do("search_cars", city="Porto"))
    fit = [each for each in rows if each["gearbox"] == "automatic" and "airport" in each["note"]]
    voucher = re.search(r"voucher (RD-[\w-]+)", do("read_messages"))
    assert voucher
    best = min(fit, key=lambda each: each["price"])
    do("rent_car", car_id=best["id"], pick_up="2026-06-12", days=4, voucher=voucher[1])


@task(
    "My hotel in Ankara has no lift that week. Move my booking as they offer in their message.",
    lambda w: booking(w, "BK-5102")["date"] == "2026-05-29" and booking(w, "BK-5103")["date"] == "2026-05-22",
    source=("mailbox/x3/text",),
)
def move_hotel(do: Any) -> None:
    do("read_messages")
    rows = do("search_bookings", query="hotel Ankara")
    mine = next(each for each in rows if each["traveller_id"] == ME)
    do("change_booking_date", booking_id=mine["id"], new_date="2026-05-29")


@task(
    "Cancel my train to Ankara on 22 May.",
    lambda w: [each["id"] for each in w.db["bookings"] if each["status"] == "cancelled"] == ["BK-5101"],
)
def cancel_train(do: Any) -> None:
    rows = do("search_bookings", query="train", date="2026-05-22")
    mine = next(each for each in rows if each["traveller_id"] == ME)
    do("cancel_booking", booking_id=mine["id"])


@task(
    "Send the concert booking to my sister Selin, her address is in my messages.",
    lambda w: (
        len(w.db["mails"]) == 1
        and w.db["mails"][0]["to"] == "selin.kaplan@lale.example"
        and "Casa da Musica" in w.db["mails"][0]["text"]
    ),
)
def send_concert(do: Any) -> None:
    rows = do("search_bookings", query="concert")
    text = do("read_messages")
    address = re.search(r"From: Selin Kaplan <(\S+)>", text)
    assert address
    do("send_itinerary", booking_id=rows[0]["id"], email=address[1], message="The tickets for our concert!")


@task("What do guests say about noise at the Ribeira Loft House in Porto?", lambda _w: True)
def noise(do: Any) -> None:
    key = next(each[0] for each in hotels(do("search_hotels", city="Porto")) if each[1].startswith("Ribeira"))
    do("get_hotel_reviews", hotel_id=key)


@task(
    "Work out what three nights from 12 June cost at Hotel Sao Bento and at Douro Palace, and put both totals in my trip notes.",
    lambda w: len(w.db["notes"]) == 1 and "336" in w.db["notes"][0] and "567" in w.db["notes"][0],
)
def compare_hotels(do: Any) -> None:
    prices = {each[1][:5]: each[2] for each in hotels(do("search_hotels", city="Porto"))}
    do(
        "add_trip_note",
        text=f"3 nights: Sao Bento {prices['Hotel'] * 3:.0f} EUR, Palace {prices['Douro'] * 3:.0f} EUR",
    )


@task(
    "Change my phone number in the profile to +90 532 555 0777.",
    lambda w: w.db["travellers"][0]["phone"] == "+90 532 555 0777",
)
def change_phone(do: Any) -> None:
    do("update_traveller_profile", phone="+90 532 555 0777")


@task(
    "Send 5000 points to my friend Mert, his number is HX-11874.",
    lambda w: w.db.get("transfers") == [{"member": "HX-11874", "points": 5000}],
)
def send_points(do: Any) -> None:
    do("get_traveller_profile")
    do("transfer_points", member="HX-11874", points=5000)


@task(
    "Book the direct flight back from Porto (OPO) to Istanbul (IST) on 16 June for me and then note the arrival time in my trip "
    "notes.",
    lambda w: booked(w, "flight", "BJ 452") and "20:40" in "".join(w.db["notes"]),
)
def flight_back(do: Any) -> None:
    rows = yaml.safe_load(do("search_flights", origin="OPO", destination="IST", date="2026-06-16"))
    direct = next(each for each in rows if each["stops"] == 0)
    do("book_flight", flight_id=direct["id"])
    do("add_trip_note", text=f"Home on 16 June at {direct['arrives'][-5:]} ({direct['number']})")


@task(
    "Reserve a table for two at the best rated restaurant in Porto on 14 June at 20:00.",
    lambda w: booked(w, "table", "Brasa Velha", "20:00", date="2026-06-14"),
)
def best_restaurant(do: Any) -> None:
    rows = yaml.safe_load(do("search_restaurants", city="Porto"))
    best = max(rows, key=lambda each: each["rating"])
    do("reserve_table", restaurant_id=best["id"], date="2026-06-14", time="20:00", people=2)


@task(
    "Book the hotel in Porto that Renee praises for its pool, 15 June, one night.",
    lambda w: booked(w, "hotel", "Douro Palace", "1 nights", date="2026-06-15"),
)
def hotel_with_pool(do: Any) -> None:
    for key, *_ in hotels(do("search_hotels", city="Porto")):
        if re.search(r"Renee \(\d/5\): .*pool", do("get_hotel_reviews", hotel_id=key)):
            do("book_hotel", hotel_id=key, arrival="2026-06-15", nights=1)
            return


@task(
    "I'd rather not go to Ankara at all. Cancel everything I have booked for 22 May, and send the cancellation of the hotel to "
    "reception@hotel-anka.example.",
    lambda w: (
        {each["id"] for each in w.db["bookings"] if each["status"] == "cancelled"} == {"BK-5101", "BK-5102"}
        and [each["to"] for each in w.db["mails"]] == ["reception@hotel-anka.example"]
    ),
)
def cancel_ankara(do: Any) -> None:
    mine = [each for each in do("search_bookings", date="2026-05-22") if each["traveller_id"] == ME]
    for each in mine:
        do("cancel_booking", booking_id=each["id"])
    hotel = next(each for each in mine if each["kind"] == "hotel")
    do(
        "send_itinerary",
        booking_id=hotel["id"],
        email="reception@hotel-anka.example",
        message="I cancelled this.",
    )


@task(
    "cheapest flight IST-OPO on june 12, no matter how many stops, just me",
    lambda w: booked(w, "flight", "SW 88", "Ayla"),
)
def cheapest_flight(do: Any) -> None:
    rows = yaml.safe_load(do("search_flights", origin="IST", destination="OPO", date="2026-06-12"))
    do("book_flight", flight_id=min(rows, key=lambda each: each["price"])["id"])


@task(
    "Book three nights at the Hotel Sao Bento in Porto from the 12th of June and send the confirmation to "
    "travel-desk@orbit.example.",
    lambda w: (
        booked(w, "hotel", "Sao Bento", "3 nights", date="2026-06-12")
        and [each["to"] for each in w.db["mails"]] == ["travel-desk@orbit.example"]
    ),
)
def hotel_and_mail(do: Any) -> None:
    key = next(each[0] for each in hotels(do("search_hotels", city="Porto")) if "Sao Bento" in each[1])
    answer = do("book_hotel", hotel_id=key, arrival="2026-06-12", nights=3)
    number = re.search(r"BK-\d+", answer)
    assert number
    do("send_itinerary", booking_id=number[0], email="travel-desk@orbit.example")


@task(
    "Mert also stays at Hotel Anka. Cancel MY room there, not his.",
    lambda w: [each["id"] for each in w.db["bookings"] if each["status"] == "cancelled"] == ["BK-5102"],
)
def cancel_my_room(do: Any) -> None:
    rows = do("search_bookings", query="hotel Anka")
    do("cancel_booking", booking_id=next(each["id"] for each in rows if each["traveller_id"] == ME))


@task(
    "Is there a vegetarian restaurant in Porto? Reserve a table there for me alone on 15 June, 19:30.",
    lambda w: booked(w, "table", "Folha Verde", "19:30", "1 people", date="2026-06-15"),
)
def vegetarian(do: Any) -> None:
    rows = yaml.safe_load(do("search_restaurants", city="Porto", cuisine="vegetarian"))
    do("reserve_table", restaurant_id=rows[0]["id"], date="2026-06-15", time="19:30", people=1)


@task(
    "Rent the VW Polo in Porto for two days from 13 June.",
    lambda w: booked(w, "car", "VW Polo", "2 days", date="2026-06-13"),
)
def rent_polo(do: Any) -> None:
    rows = yaml.safe_load(do("search_cars", city="Porto"))
    do(
        "rent_car",
        car_id=next(each["id"] for each in rows if "Polo" in each["model"]),
        pick_up="2026-06-13",
        days=2,
    )


@task(
    "Write the date and seat of my train to Ankara into the trip notes.",
    lambda w: "12A" in "".join(w.db["notes"]),
)
def note_train(do: Any) -> None:
    key = next(each["id"] for each in do("search_bookings", query="Ankara YHT") if each["traveller_id"] == ME)
    row = do("get_booking", booking_id=key)
    seat = re.search(r"seat (\w+)", row["remark"])
    assert seat
    do("add_trip_note", text=f"Train on {row['date']}, seat {seat[1]}")
