"""The settings of a Kubernetes source."""

from msgspec import Struct

MIB = 1024 * 1024


class KubernetesSettings(Struct, frozen=True, kw_only=True):
    """Bounds of a Kubernetes source.

    Attributes:
        connect_timeout: How long a connection may take to be made, in seconds.
        read_timeout: How long the API server may be silent, in seconds. Above the minute or so
            between two bookmarks.
        watch_timeout: The shortest time after which the API server is asked to end a watch, in
            seconds; the longest is twice that.
        stale_after: How old the view may grow before it is called stale, in seconds. Above
            `read_timeout` and a reconnect, so that a half-open connection that heals goes unsaid.
        namespace_grace: How long the others of several namespaces are held back for one whose first
            list doesn't come, in seconds.
        empty_grace: How long a list that has just become empty keeps the endpoints that nothing is
            said of any more, and a deleted Service its lists, in seconds; 0: not at all.
        debounce: The window in which changes are gathered after a publication, in seconds; 0: each
            goes out at once.
        mass_removal: The share of 20 or more objects, 0 to 1, that a relist may lack before it is
            read a second time, as one that lacks all is; 0: each is believed.
        pods: Watch the metadata of Pods too, for their weights and labels.
        pod_selector: The label selector of the Pods that are watched; "" for all.
        stream_lists: Ask for lists as streams first, where the API server offers that.
        stream_end: How long a streamed list may go without another object or its end, in seconds;
            one that has not ended after six times as long is given up too, and pages are used.
        verify: How long after a gap a watch that was resumed is checked by a list, in seconds; up
            to twice as long.
        page_size: How many objects a page of a list has.
        max_line: The longest watch event, in bytes.
        max_page: The longest page of a list, in bytes.
        backoff: The shortest pause after a failure, in seconds.
        backoff_ceiling: The longest pause after a failure, in seconds.
        backoff_reset: After how long without a failure the pauses are short again, in seconds.
        relists: How many relists there may be within `relist_span`.
        relist_span: In seconds.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 90.0
    watch_timeout: float = 300.0
    stale_after: float = 120.0
    namespace_grace: float = 30.0
    empty_grace: float = 1.0
    debounce: float = 0.0
    mass_removal: float = 0.5
    pods: bool = False
    pod_selector: str = ""
    stream_lists: bool = True
    stream_end: float = 10.0
    verify: float = 5.0
    page_size: int = 500
    max_line: int = 16 * MIB
    max_page: int = 512 * MIB
    backoff: float = 0.8
    backoff_ceiling: float = 30.0
    backoff_reset: float = 120.0
    relists: int = 2
    relist_span: float = 60.0
