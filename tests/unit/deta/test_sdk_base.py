"""The `deta` package's Base against a server on loopback."""

from __future__ import annotations

import datetime
import os
import time
import unittest
import urllib.error
from unittest import mock

import deta
from deta.base import BASE_TTL_ATTTRIBUTE, Base, FetchResponse, Util, _Base, insert_ttl
from deta_standin import KEY, PROJECT, Standin

KEYS = ("a/b", "a%2Fb", "%@#//#!#)#$_", "two words", "ünï/çødé 🚀", "..", "a?b=c&d", "+", "~-._")


class BaseCase(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Standin()
        self.addCleanup(self.server.close)
        self.deta = deta.Deta(KEY)
        self.db = self.deta.Base("simple_db", host=self.server.url)
        self.addCleanup(self.db.client.close)

    @property
    def items(self) -> dict:
        return self.server.bases["simple_db"]


class Surface(BaseCase):
    def test_what_programs_import_is_there(self) -> None:
        from deta import App, AsyncBase, Deta, Drive, app  # noqa: F401
        from deta._async.client import _AsyncBase  # noqa: F401
        from deta.drive import DriveStreamingBody, _Drive  # noqa: F401

        self.assertRegex(deta.__version__, r"^1\.\d+\.\d+$")
        self.assertIs(Base, _Base)
        self.assertIs(deta.drive.Drive, _Drive)
        self.assertIsInstance(self.db, _Base)
        self.assertEqual(BASE_TTL_ATTTRIBUTE, "__expires")

    def test_the_key_names_the_project(self) -> None:
        self.assertEqual((self.deta.project_key, self.deta.project_id), (KEY, PROJECT))
        self.assertEqual(deta.Deta("secret", project_id="p1").project_id, "p1")

    def test_the_key_comes_from_the_environment(self) -> None:
        with mock.patch.dict(os.environ, {"DETA_PROJECT_KEY": KEY + "\n", "DETA_BASE_HOST": self.server.url}):
            self.assertEqual(deta.Base("simple_db").put(1, "one"), {"key": "one", "value": 1})
            self.assertEqual(deta.Deta().Base("simple_db").get("one"), {"key": "one", "value": 1})

    def test_without_a_key_the_words_of_the_first_sdk_are_said(self) -> None:
        with mock.patch.dict(os.environ, {"DETA_PROJECT_KEY": ""}):
            with self.assertRaisesRegex(AssertionError, "^No project key defined$"):
                deta.Deta()
            with self.assertRaisesRegex(AssertionError, "^No project key defined$"):
                deta.Base("simple_db")
        with self.assertRaisesRegex(AssertionError, "^Bad project key provided$"):
            deta.Deta("nounderscore")
        with self.assertRaisesRegex(AssertionError, "^No Base name provided$"):
            self.deta.Base("")

    def test_emails_are_refused_in_a_sentence(self) -> None:
        with self.assertRaisesRegex(deta.MailerMissing, "no mailer is configured"):
            self.deta.send_email("a@example.org", "hello", "text")

    def test_the_key_is_never_shown(self) -> None:
        self.assertNotIn("aSecretValue", repr(self.db))


class Putting(BaseCase):
    def test_put_stores_dicts_and_wraps_the_rest(self) -> None:
        given = {"name": "alex", "age": 77}
        self.assertEqual(self.db.put(given, "one"), {"name": "alex", "age": 77, "key": "one"})
        self.assertEqual(given, {"name": "alex", "age": 77})
        self.assertEqual(self.db.put({"key": "inner"}, "outer")["key"], "outer")
        self.assertEqual(self.db.put({"key": "inner"})["key"], "inner")
        for data in ("hello", 7, 3.5, True, False, ["a", "b"], None):
            stored = self.db.put(data)
            self.assertEqual(self.db.get(stored["key"]), {"key": stored["key"], "value": data})

    def test_every_key_round_trips(self) -> None:
        for key in KEYS:
            self.db.put({"value": key}, key)
            self.assertEqual(self.db.get(key), {"key": key, "value": key})
            self.db.update({"more": 1}, key)
            self.assertEqual(self.items[key]["more"], 1)
        self.assertEqual(sorted(self.items), sorted(KEYS))
        for key in KEYS:
            self.assertIsNone(self.db.delete(key))
        self.assertEqual(self.items, {})

    def test_a_missing_item_is_none(self) -> None:
        self.assertIsNone(self.db.get("nowhere"))
        self.assertIsNone(self.db.delete("nowhere"))

    def test_empty_and_non_text_keys_are_refused_before_anything_is_sent(self) -> None:
        for call in (self.db.get, self.db.delete, lambda key: self.db.update({"a": 1}, key)):
            with self.assertRaisesRegex(ValueError, "Key is empty"):
                call("")
            with self.assertRaises(TypeError):
                call(7)
        self.assertEqual(self.server.requests, [])

    def test_put_many_takes_1_to_25_and_leaves_the_given_items_alone(self) -> None:
        given = [{"name": "Beverly", "key": "one"}, "dude", ["Namaskāra", "hello"]]
        answer = self.db.put_many(given, expire_in=300)
        self.assertEqual([each.get("value") for each in answer["processed"]["items"]], [None, *given[1:]])
        self.assertEqual(given[0], {"name": "Beverly", "key": "one"})
        self.assertTrue(all("__expires" in each for each in self.items.values()))
        self.assertEqual(len(self.db.put_many(range(25))["processed"]["items"]), 25)
        with self.assertRaisesRegex(AssertionError, "We can't put more than 25 items at a time."):
            self.db.put_many(range(26))
        with self.assertRaises(ValueError):
            self.db.put_many([])

    def test_an_item_that_the_host_could_not_store_raises(self) -> None:
        with self.assertRaisesRegex(deta.ServiceError, "was not stored"):
            self.db.put({"": 1})
        self.assertEqual(self.db.put_many([{"": 1}])["failed"]["items"][0][""], 1)

    def test_insert_refuses_a_taken_key_with_the_hosts_sentence(self) -> None:
        self.assertEqual(self.db.insert({"m": 1}, "greeting1"), {"m": 1, "key": "greeting1"})
        self.assertIn("key", self.db.insert("hello, world"))
        with self.assertRaises(deta.ServiceError) as caught:
            self.db.insert({"m": 2}, "greeting1")
        self.assertEqual((caught.exception.status, caught.exception.errors), (409, ["Key already exists"]))
        self.assertEqual(str(caught.exception), "Base 'simple_db': Key already exists (HTTP 409)")

    def test_what_json_cannot_hold_is_refused_here(self) -> None:
        for data in ({"a": float("nan")}, {"a": float("inf")}):
            with self.assertRaises(ValueError):
                self.db.put(data)
        with self.assertRaisesRegex(TypeError, "cannot hold a set"):
            self.db.put({"a": {1}})
        self.assertEqual(self.server.requests, [])

    def test_numbers_text_and_big_integers_arrive_as_they_were(self) -> None:
        data = {
            "i": 9007199254740993,
            "f": 0.1,
            "t": "ünï\u0000\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        }
        self.assertEqual(self.db.get(self.db.put(data, "k")["key"]), {**data, "key": "k"})


class Expiring(BaseCase):
    def test_expire_in_counts_from_now_and_expire_at_is_a_time(self) -> None:
        at = datetime.datetime.fromisoformat("2123-01-01T00:00:00")
        cases = [
            ({"expire_in": 300}, time.time() + 300),
            ({"expire_in": 0.5}, time.time()),
            ({"expire_at": at}, at.timestamp()),
            ({"expire_at": at.replace(tzinfo=datetime.timezone.utc)}, 4828204800),
            ({"expire_at": 4828204800.9}, 4828204800),
            ({"expire_at": 4828204800}, 4828204800),
        ]
        for given, wanted in cases:
            for stored in (
                self.db.put({"a": 1}, "k", **given),
                self.db.put_many([{"a": 1}], **given)["processed"]["items"][0],
                self.db.insert({"a": 1}, **given),
            ):
                self.assertIsInstance(stored["__expires"], int)
                self.assertAlmostEqual(stored["__expires"], wanted, delta=2)

    def test_update_without_updates_renews(self) -> None:
        self.db.put({"a": 1}, "temp_key")
        self.assertIsNone(self.db.update(None, "temp_key", expire_in=300))
        self.assertAlmostEqual(self.items["temp_key"]["__expires"], time.time() + 300, delta=2)

    def test_an_expired_item_is_stored_and_gone(self) -> None:
        self.assertIn("key", self.db.put({"a": 1}, "k", expire_at=1))
        self.assertIsNone(self.db.get("k"))

    def test_both_are_a_value_error_and_other_types_a_type_error(self) -> None:
        for call in (
            lambda **given: self.db.put(1, **given),
            lambda **given: self.db.insert(1, **given),
            lambda **given: self.db.put_many([1], **given),
            lambda **given: self.db.update({}, "k", **given),
        ):
            with self.assertRaises(ValueError):
                call(expire_in=1, expire_at=1)
            for wrong in ({"expire_in": "soon"}, {"expire_at": "2023-01-01"}, {"expire_in": True}):
                with self.assertRaises(TypeError):
                    call(**wrong)
        item: dict = {}
        insert_ttl(item, "__expires", expire_in=0)
        self.assertAlmostEqual(item["__expires"], time.time(), delta=2)


class Updating(BaseCase):
    def setUp(self) -> None:
        super().setUp()
        profile = {"age": 32, "active": False, "hometown": "pittsburgh"}
        user = {
            "username": "jimmy",
            "profile": profile,
            "on_mobile": True,
            "likes": ["anime"],
            "purchases": 1,
        }
        self.db.put(user, "user-a")

    def test_the_example_of_the_docs(self) -> None:
        util = self.db.util
        updates = {
            "profile.age": 33,
            "profile.active": True,
            "profile.email": "jimmy@deta.sh",
            "profile.hometown": util.trim(),
            "on_mobile": util.trim(),
            "purchases": util.increment(2),
            "likes": util.append("ramen"),
        }
        self.assertIsNone(self.db.update(updates, "user-a"))
        self.assertEqual(
            self.db.get("user-a"),
            {
                "key": "user-a",
                "username": "jimmy",
                "profile": {"age": 33, "active": True, "email": "jimmy@deta.sh"},
                "likes": ["anime", "ramen"],
                "purchases": 3,
            },
        )
        sent = self.server.requests[-2].json
        self.assertEqual(sorted(sent), ["append", "delete", "increment", "prepend", "set"])

    def test_increment_is_1_unless_told_and_lists_are_joined(self) -> None:
        util = Util()
        self.db.update({"purchases": util.increment(), "likes": util.prepend(["x", "y"])}, "user-a")
        self.db.update({"purchases": util.increment(-3), "likes": util.append(["b", "c"])}, "user-a")
        self.assertEqual(
            (self.items["user-a"]["purchases"], self.items["user-a"]["likes"]),
            (-1, ["x", "y", "anime", "b", "c"]),
        )
        self.db.update({"purchases": util.increment(0)}, "user-a")
        self.assertEqual(self.items["user-a"]["purchases"], -1)

    def test_refusals_carry_the_hosts_sentence(self) -> None:
        for updates, key, status, said in (
            ({"a": 1}, "nobody", 404, "Key not found"),
            ({"key": "x"}, "user-a", 400, "key cannot be updated"),
            ({"key": self.db.util.append("x")}, "user-a", 400, "key cannot be updated"),
            ({"nothing.age": 1}, "user-a", 400, "no parent"),
            ({}, "user-a", 400, "No updates given"),
        ):
            with self.assertRaisesRegex(deta.ServiceError, said) as caught:
                self.db.update(updates, key)
            self.assertEqual(caught.exception.status, status)


class Fetching(BaseCase):
    def setUp(self) -> None:
        super().setUp()
        people = (("key-1", "Wesley", 27, "San Francisco"), ("key-2", "Beverly", 51, "Copernicus City"))
        people += (("key-3", "Kevin Garnett", 43, "Greenville"),)
        self.people = [{"key": k, "name": n, "age": a, "hometown": h} for k, n, a, h in people]
        self.db.put_many(self.people)

    def test_a_response_has_items_count_and_last(self) -> None:
        answer = self.db.fetch({"age?lt": 30})
        self.assertEqual((answer.items, answer.count, answer.last), (self.people[:1], 1, None))
        self.assertEqual(answer, FetchResponse(1, None, self.people[:1]))
        self.assertNotEqual(answer, FetchResponse(0, None, []))
        answer = self.db.fetch([{"age?gt": 50}, {"hometown": "Greenville"}])
        self.assertEqual(answer.items, self.people[1:])
        self.assertEqual(self.db.fetch({"name": "nobody"}), FetchResponse(0, None, []))

    def test_pages_follow_last(self) -> None:
        answer = self.db.fetch(limit=2)
        everything = answer.items
        while answer.last:
            answer = self.db.fetch(limit=2, last=answer.last)
            everything += answer.items
        self.assertEqual(everything, self.people)
        self.assertEqual(self.db.fetch(desc=True).items, self.people[::-1])
        self.assertEqual(self.db.fetch({}, 1, "key-1").items, self.people[1:2])

    def test_what_is_unset_is_not_sent(self) -> None:
        self.db.fetch()
        self.assertEqual(self.server.requests[-1].json, {"limit": 1000})
        self.db.fetch({"a": 1}, limit=None, last="", desc=True)
        self.assertEqual(self.server.requests[-1].json, {"query": [{"a": 1}], "sort": "desc"})

    def test_the_older_use_takes_pages(self) -> None:
        self.assertEqual(next(self.db.fetch({"age?lt": 30})), self.people[:1])
        self.assertEqual(next(self.db.fetch({"name": "nobody"})), [])
        self.assertEqual(list(self.db.fetch(buffer=2)), [self.people[:2], self.people[2:]])
        self.assertEqual(list(self.db.fetch(buffer=1, pages=2)), [self.people[:1], self.people[1:2]])
        self.assertEqual(list(self.db.fetch(None, 1, 2)), [self.people[:1], self.people[1:2]])
        pages = self.db.fetch(buffer=1)
        self.assertEqual([next(pages), *pages], [[each] for each in self.people])
        self.assertEqual(next(pages, None), None)

    def test_further_pages_are_fetched_only_when_asked_for(self) -> None:
        before = len(self.server.requests)
        pages = self.db.fetch(buffer=1)
        self.assertEqual(len(self.server.requests) - before, 1)
        next(pages)
        self.assertEqual(len(self.server.requests) - before, 1)
        next(pages)
        self.assertEqual(len(self.server.requests) - before, 2)

    def test_a_bad_query_says_so(self) -> None:
        with self.assertRaisesRegex(deta.ServiceError, "Bad query") as caught:
            self.db.fetch({"age?foo": 1})
        self.assertEqual(caught.exception.errors, ["Bad query"])

    def test_unknown_arguments_are_refused(self) -> None:
        with self.assertRaisesRegex(TypeError, "unexpected keyword argument 'sorted'"):
            self.db.fetch(sorted=True)


class Refusing(BaseCase):
    def test_a_wrong_key_is_refused_with_the_hosts_sentence(self) -> None:
        stranger = deta.Deta("other_key").Base("simple_db", self.server.url)
        with self.assertRaisesRegex(deta.ServiceError, r"Unauthorized \(HTTP 401\)"):
            stranger.get("one")

    def test_programs_that_catch_http_errors_go_on(self) -> None:
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.db.insert(self.db.insert(1))
        error = caught.exception
        self.assertIsInstance(error, deta.ServiceError)
        self.assertEqual((error.code, error.reason), (409, "Key already exists"))
        self.assertEqual(error.read(), b'{"errors": ["Key already exists"]}')
        self.assertIsNone(getattr(error, "anything", None))

    def test_a_page_that_is_no_json_is_never_taken_for_a_missing_item(self) -> None:
        self.server.before = lambda request: (404, {"Content-Type": "text/html"}, b"<h1>nginx</h1>")
        with self.assertRaisesRegex(deta.ServiceError, "nginx"):
            self.db.get("one")
        self.server.before = lambda request: (200, {"Content-Type": "text/html"}, b"<h1>Welcome</h1>")
        with self.assertRaisesRegex(deta.ConnectionFailed, "not JSON"):
            self.db.get("one")

    def test_a_line_break_in_the_key_splits_no_request(self) -> None:
        with self.assertRaises(ValueError):
            deta.Deta("a_b\r\nX-Evil: 1", project_id="p").Base("simple_db", self.server.url).get("one")
        self.assertEqual(self.server.requests, [])


if __name__ == "__main__":
    unittest.main()
