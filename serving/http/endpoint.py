"""What one endpoint is: a handler and everything that is known of it before a request comes.

Routes, role checks, validation, the OpenAPI documents, the access log's and the metrics' labels are all read
from these entries, so none of them can say something else than the others.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from serving.http.problems import ProblemKind

if TYPE_CHECKING:
    from serving.http.access import Caller
    from serving.http.idempotent import Idempotency
    from serving.http.state import State

Role = Literal["crm", "rep", "manager", "admin"]
Language = Literal["en", "fr"]

#: Anybody, without a key.
ANYBODY: frozenset[Role] = frozenset()
#: Every role.
ALL: frozenset[Role] = frozenset({"crm", "rep", "manager", "admin"})

_PARAMETER = re.compile(r"\{([a-z_]+)\}")


@dataclass(slots=True)
class Call:
    """One request, checked, as a handler gets it.

    Parameters
    ----------
    state : State
        What the worker holds: model, store, settings.
    caller : Caller
    query : BaseModel or None
        The endpoint's ``query``, filled; None where it has none.
    body : BaseModel or bytes or None
        The endpoint's ``body``, filled; the bytes as they came where it ``reads_bytes``.
    path : mapping of str to str
        The parts of the path that are named in the endpoint's.
    now : datetime
        In UTC: the only clock that a handler reads.
    request_id : str
    language : {"en", "fr"}
        What ``Accept-Language`` prefers of the two.
    headers : mapping of str to str
        Names in lower case.
    idempotency : Idempotency or None
        For an ``idempotent`` endpoint whose caller sent a key: what to remember in the handler's own
        transaction.
    seen : tuple of str
        Ids of the records that were read or changed, for the audit log; a handler sets it.
    n_seen : int
        How many, where there are too many to name.
    """

    state: State
    caller: Caller
    query: Any
    body: Any
    path: Mapping[str, str]
    now: datetime
    request_id: str
    language: Language
    headers: Mapping[str, str]
    idempotency: Idempotency | None = None
    seen: tuple[str, ...] = ()
    n_seen: int = 0


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True)
class Endpoint:
    """One method of one path.

    Parameters
    ----------
    method : {"GET", "POST", "PUT", "PATCH", "DELETE"}
    path : str
        For example ``"/v1/deals/{deal_id}/history"``; a part in braces is an id of 1 to 200 characters.
    operation, summary, description : str
        For the OpenAPI documents; the operation also names the endpoint in the audit log.
    roles : frozenset of Role
        Who may call; empty for anybody, with or without a key.
    handle : async function of a Call
        Gives what ``answer`` describes, or a ``Response``; refuses with ``raise Refusal(...)``.
    query, body, answer : type of BaseModel or None
    problems : tuple of ProblemKind
        What the handler itself may refuse with; what every endpoint can answer need not be named.
    example, answer_example : JSON-able or None
        A body that works as it is (of a query: a mapping of its keys), and what comes back.
    needs_store : bool
        Whether it is refused where the service has no history store.
    idempotent : bool
        Whether ``Idempotency-Key`` is honoured.
    max_body : int or None
        In bytes, where it is not the service's own limit.
    status : int
        Of a good answer.
    reads_bytes : bool
        The handler reads the body itself, record by record; ``body`` only documents it.
    by_framework : bool
        BentoML's dispatch calls it; see :mod:`serving.service`.
    media_type : str
        Of an answer that is not JSON.
    audited : bool
        Whether a call is noted in the audit log.
    """

    method: str
    path: str
    operation: str
    summary: str
    handle: Handler
    description: str = ""
    roles: frozenset[Role] = ALL
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    problems: tuple[ProblemKind, ...] = ()
    example: Any = None
    answer_example: Any = None
    needs_store: bool = True
    idempotent: bool = False
    max_body: int | None = None
    status: int = 200
    reads_bytes: bool = False
    by_framework: bool = False
    media_type: str = "application/json"
    audited: bool = True
    parameters: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(_PARAMETER.findall(self.path)))
