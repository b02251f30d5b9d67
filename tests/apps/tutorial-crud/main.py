from flask import Flask, request, jsonify
from deta import Deta

deta = Deta() # configure your Deta project
db = deta.Base('simpleDB') # access your DB
app = Flask(__name__)

@app.route('/users', methods=["POST"])
def create_user():
    name = request.json.get("name")
    age = request.json.get("age")
    hometown = request.json.get("hometown")

    user = db.put({
        "name": name,
        "age": age,
        "hometown": hometown
    })

    return jsonify(user, 201)

@app.route('/users/<key>')
def get_user(key):
    user = db.get(key)
    return user if user else jsonify({'error': 'Not found'}, 404)

@app.route('/users/<key>', methods=["PUT"])
def update_user(key):
    user = db.put(request.json, key)
    return user

@app.route('/users/<key>', methods=["DELETE"])
def delete_user(key):
    db.delete(key)
    return jsonify({'status': "ok"}, 200)
