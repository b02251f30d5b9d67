"""A whole Django in one file."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

settings.configure(
    DEBUG=False, ROOT_URLCONF=__name__, SECRET_KEY="not secret: a sample", ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None
)


def home(request):
    return JsonResponse({"hello": "from Django"})


urlpatterns = [path("", home)]
app = get_wsgi_application()
