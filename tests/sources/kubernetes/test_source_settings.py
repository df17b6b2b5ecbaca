from lookaside.sources.kubernetes.source_settings import KubernetesSettings


def test_the_defaults_fit_one_another() -> None:
    settings = KubernetesSettings()
    bookmarks = 60.0
    reconnect = settings.connect_timeout + settings.backoff * 2
    assert bookmarks < settings.read_timeout < settings.watch_timeout
    assert settings.stale_after > settings.read_timeout + reconnect
    assert settings.max_line < settings.max_page
