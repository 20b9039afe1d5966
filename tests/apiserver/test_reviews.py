from __future__ import annotations

import pytest

from fairway.api.status import ApiError
from fairway.apiserver.reviews import ACCESS_REVIEWS, RULES_REVIEWS, SUBJECT_REVIEWS, answer_review, find_review

WHO = {"user": "admin", "groups": ("system:masters",), "now": "2026-11-23T12:00:00Z"}


def test_whoever_asks_may() -> None:
    asked = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "nodes"}}}
    answered = answer_review(ACCESS_REVIEWS, asked, **WHO)
    assert answered == {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        **asked,
        "status": {"allowed": True},
    }


def test_whoever_asks_may_do_everything() -> None:
    answered = answer_review(RULES_REVIEWS, {"spec": {"namespace": "default"}}, **WHO)
    assert answered["spec"] == {"namespace": "default"}
    assert answered["status"] == {
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }
    with pytest.raises(ApiError, match="no namespace on request"):
        answer_review(RULES_REVIEWS, {}, **WHO)


def test_a_client_learns_who_it_is_and_always_the_same() -> None:
    first, second = (answer_review(SUBJECT_REVIEWS, {}, **WHO) for _ in range(2))
    info = first["status"]["userInfo"]
    assert (info["username"], info["groups"]) == ("admin", ["system:masters", "system:authenticated"])
    assert first == second


def test_a_wrong_type_is_a_bad_request() -> None:
    with pytest.raises(ApiError) as caught:
        answer_review(ACCESS_REVIEWS, {"spec": {"resourceAttributes": {"verb": 1}}}, **WHO)
    assert caught.value.message == (
        'SelfSubjectAccessReview in version "v1" cannot be handled as a SelfSubjectAccessReview: json: cannot '
        "unmarshal number into Go struct field ResourceAttributes.spec.resourceAttributes.verb of type string"
    )


def test_reviews_are_found_by_their_path() -> None:
    assert find_review("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews") is ACCESS_REVIEWS
    assert find_review("/apis/authentication.k8s.io/v1/selfsubjectreviews/") is SUBJECT_REVIEWS
    assert find_review("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x") is None
