"""Every page, in the order of the menu.

A new page is a module, a template and a line in PAGES:

1. `receiver/dashboard/<name>_page.py` ends with a `Page`: its label, path, icon (a name in
   templates/macros.html), the letter after `g`, and its addresses. An `Address` is a path with a function
   for GET and one for POST. Functions are plain (they run in a thread), take a `Visit` and return a response:

       def show(visit: Visit) -> Response:
           with visit.desk.reading() as connection:
               rows = reads.list_orders(connection)
           return visit.render("orders.html", rows=rows)

   A POST needs at least `role` ("operator" unless said otherwise), is known to come from our own pages, and
   ends with `visit.go(path, "What was done")`. Raise `HTTPException(400, "Why.")` or `not_found("order")`.
   What needs confirmation has a GET that shows what will happen and a form that posts to the same path;
   `confirm.html` is the template for it, bulk.py what it takes to do it to many rows. What cannot be taken
   back calls `visit.reauthenticate(what, target)` first, and shows templates/password.html in its form.

2. `templates/<name>.html` extends base.html and fills `title`, `heading` (what follows in the one h1 is up to
   it) and `main`; `crumbs` when it lies deeper. Macros are in `ui` (templates/macros.html): pills, icons,
   sparklines, empty states, tabs, pager. Filters: `ago`, `until`, `exact`, `duration`, `number`.
   A region that keeps itself up to date is a block inside an element with the attributes of `live`:

       <section {{ live("orders", "order_table") }}>{% block order_table %}…{% endblock %}</section>

   Blocks are rendered alone then, so they may use what `render` was given and nothing `set` outside of them.

3. PAGES below. `topics` say when regions are out of date: a name and a function `(desk, key) -> anything
   comparable`, asked about once a second while somebody watches; `key` is what follows the colon of a topic
   such as `order:84d9…`. `finders` answer the jump box: `(connection, text) -> path or None`.
"""

from __future__ import annotations

from receiver.dashboard import (
    audit_page,
    dead_letters_page,
    decisions_page,
    events_page,
    orders_page,
    overview_page,
    queues_page,
    rules_page,
    system_page,
)
from receiver.dashboard.page import Page

PAGES: tuple[Page, ...] = (
    overview_page.PAGE,
    orders_page.PAGE,
    decisions_page.PAGE,
    events_page.PAGE,
    queues_page.PAGE,
    dead_letters_page.PAGE,
    rules_page.PAGE,
    audit_page.PAGE,
    system_page.PAGE,
)
