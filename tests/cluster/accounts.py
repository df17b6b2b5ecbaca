"""Service accounts, their tokens and their rights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.api import ApiClient, Object
from tests.cluster.harness import ControlPlane

RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"


@dataclass(frozen=True)
class Account:
    """A service account with a token.

    Attributes:
        client: A client that shows the token.
        token: The token itself.
        kubeconfig: A file with the token in it.
    """

    client: ApiClient
    token: str
    kubeconfig: Path


class Accounts:
    """The service accounts of a namespace.

    Args:
        control_plane: The cluster.
        name: The namespace's name.
    """

    def __init__(self, control_plane: ControlPlane, name: str) -> None:
        self.control_plane = control_plane
        self.name = name
        self._admin = control_plane.admin
        self._accounts = f"/api/v1/namespaces/{name}/serviceaccounts"

    def service_account(
        self, name: str, rules: Sequence[Object] = (), *, everywhere: bool = False
    ) -> Account:
        """Create a service account with a role of its own.

        Args:
            name: The account's name, and its role's.
            rules: RBAC rules: {"apiGroups": …, "resources": …, "verbs": …}; none: no rights.
            everywhere: The role holds in the whole cluster, not in this namespace alone.

        Returns:
            The account, with a token.
        """
        self._admin.create(self._accounts, {"metadata": {"name": name}})
        if rules:
            self.grant(name, rules, everywhere=everywhere)
        return self.account(name)

    def account(self, name: str) -> Account:
        """Make a token for a service account that is there, such as one that a chart created."""
        token = self.token(name)
        kubeconfig = self.control_plane.write_kubeconfig(
            f"{self.name}-{name}", token=token, namespace=self.name
        )
        return Account(self.control_plane.client(token), token, kubeconfig)

    def delete_account(self, name: str) -> None:
        """Delete a service account: its tokens are good no longer."""
        self._admin.delete(f"{self._accounts}/{name}")

    def token(self, account: str, *audiences: str) -> str:
        """Make a token of a service account, for these audiences or else for the API server."""
        path = f"{self._accounts}/{account}/token"
        spec = {"expirationSeconds": 3600, "audiences": list(audiences)}
        token: str = self._admin.create(path, {"spec": spec})["status"]["token"]
        return token

    def grant(
        self,
        name: str,
        rules: Sequence[Object],
        *,
        account: str | None = None,
        everywhere: bool = False,
    ) -> None:
        """Create a role and bind it to a service account.

        Args:
            name: The role's name.
            rules: Its rules.
            account: The service account; None: the one of the role's name.
            everywhere: The role holds in the whole cluster, not in this namespace alone.
        """
        kind, scope, role = "Role", f"{RBAC}/namespaces/{self.name}", name
        if everywhere:
            kind, scope, role = "ClusterRole", RBAC, f"{self.name}-{name}"
        metadata = {"name": role}
        self._admin.create(f"{scope}/{kind.lower()}s", {"metadata": metadata, "rules": list(rules)})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
        subject = {
            "kind": "ServiceAccount",
            "name": account or name,
            "namespace": self.name,
        }
        binding = {"metadata": metadata, "roleRef": reference, "subjects": [subject]}
        self._admin.create(f"{scope}/{kind.lower()}bindings", binding)

    def bind(self, name: str, rules: Sequence[Object], user: str) -> str:
        """Create a role here, if there is none, and bind it to a user; give the binding's path."""
        scope = f"{RBAC}/namespaces/{self.name}"
        metadata = {"name": name}
        roles = self._admin.get(f"{scope}/roles")["items"]
        if all(each["metadata"]["name"] != name for each in roles):
            self._admin.create(f"{scope}/roles", {"metadata": metadata, "rules": list(rules)})
        group = "rbac.authorization.k8s.io"
        binding = {
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        }
        self._admin.create(f"{scope}/rolebindings", binding)
        return f"{scope}/rolebindings/{name}"
