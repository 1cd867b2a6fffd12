# SPDX-License-Identifier: MIT
"""nginx on machine 1, and what a web client on either machine is answered."""

import subprocess

NGINX = "/usr/sbin/nginx"
URL = "http://127.0.0.1:8080/page"
GET = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1], timeout=20)" \
      ".read().decode())"


def get(machines, machine, url):
    """The body; None where nobody answers yet."""
    try:
        return machines.run(machine, ["/usr/bin/python3", "-c", GET, url])
    except RuntimeError:
        return None


def start_nginx(machines, processes):
    """Serves "as prepared" at URL; `processes`: its directives about them."""
    folder = machines.file("nginx")
    folder.mkdir()
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    (folder / "page").write_text("as prepared")
    (folder / "conf").write_text(
        f"daemon off; {processes} pid nginx.pid; error_log stderr;\n"
        "events {}\nhttp { access_log off; client_body_temp_path t; proxy_temp_path t;\n"
        "fastcgi_temp_path t; uwsgi_temp_path t; scgi_temp_path t;\n"
        f"server {{ listen 8080; root {folder}; }} }}\n")
    return machines.start(1, [NGINX, "-p", folder, "-c", "conf"], stderr=subprocess.DEVNULL)
